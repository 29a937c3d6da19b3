/* Keeps a page of the panel current: every `data-refresh` seconds it asks for the same page again and puts the new parts in place.
 *
 *   <div id="fleet" data-refresh="15">...</div>            replaced where it differs; needs an id
 *   <p data-failed="... %(time)s"></p>                     inside: the sentence for when the panel does not answer
 *   <p data-refresh-failed role="status" hidden></p>       inside: where that sentence goes
 *
 * It waits while the page is not looked at, while somebody types in the part, has a menu or a table open there, or points at a chart, and longer after each failure.
 */
"use strict";

(() => {
  const part = document.querySelector("[data-refresh]");
  if (!part) return;
  const id = part.id;
  const period = Number(part.dataset.refresh) * 1000;
  let shownAt = new Date();
  let wait = period;
  let timer = 0;

  const busy = (element) => element.querySelector("details.pg-menu[open], details.pg-figures[open], dialog[open], .pg-cross, .pg-chosen") !== null || (element.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));

  const failed = () => {
    const element = document.getElementById(id);
    const place = element.querySelector("[data-refresh-failed]");
    const sentence = element.querySelector("[data-failed]");
    if (place && sentence) {
      place.textContent = sentence.dataset.failed.replace("%(time)s", shownAt.toLocaleTimeString(document.documentElement.lang || undefined));
      place.hidden = false;
    }
  };

  const put = (fresh) => {
    const element = document.getElementById(id);
    const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("href") || document.activeElement.id : "";
    element.replaceChildren(...fresh.childNodes);
    if (focused) {
      const again = document.getElementById(focused) || [...element.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
      if (again) again.focus({ preventScroll: true });
    }
    shownAt = new Date();
  };

  const look = async () => {
    const answer = await fetch(window.location.href, { credentials: "same-origin", redirect: "error", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(`the panel answered ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
    if (!fresh) throw new Error("the answer is another page");
    return fresh;
  };

  const again = async () => {
    const element = document.getElementById(id);
    if (document.visibilityState === "visible" && !busy(element)) {
      try {
        const fresh = await look();
        if (!busy(document.getElementById(id))) put(fresh);
        wait = period;
      } catch {
        wait = Math.min(wait * 2, 120000);
        failed();
      }
    }
    timer = window.setTimeout(again, wait);
  };

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible" && new Date() - shownAt > period) {
      window.clearTimeout(timer);
      again();
    }
  });
  timer = window.setTimeout(again, wait);
})();
