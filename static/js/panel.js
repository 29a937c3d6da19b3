/* Small things that pages share. Everything is found by attributes, so that parts put in later (refresh.js) work too.
 *
 *   <button data-copy="id" data-copied="Copied"><span>Copy</span></button>      copies the text of #id
 *   <button data-dialog="id">, <dialog id="id"> ... <button data-close>         opens and closes a dialog
 *   <details class="pg-menu">                                                   closes on a press elsewhere and on Escape
 */
"use strict";

(() => {
  const announcer = document.createElement("div");
  announcer.className = "pg-hidden";
  announcer.setAttribute("role", "status");
  document.body.append(announcer);

  const copied = (button) => {
    const words = button.querySelector("span:last-child");
    const before = words.textContent;
    if (before === button.dataset.copied) return;
    announcer.textContent = words.textContent = button.dataset.copied;
    window.setTimeout(() => {
      words.textContent = before;
      announcer.textContent = "";
    }, 2000);
  };

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
  };

  /* The clipboard is there over TLS and on this machine only; elsewhere the text is selected and copied the old way. */
  const copy = async (button) => {
    const element = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(element.textContent);
    } catch {
      select(element);
      if (!document.execCommand("copy")) return;
    }
    copied(button);
  };

  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.pg-menu[open]")) if (menu !== except) menu.open = false;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-dialog], [data-close]");
    closeMenus(event.target.closest("details.pg-menu"));
    if (!button) return;
    if (button.dataset.copy) copy(button);
    else if (button.dataset.dialog) document.getElementById(button.dataset.dialog).showModal();
    else button.closest("dialog").close();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details.pg-menu[open]");
    closeMenus(null);
    if (menu) menu.querySelector("summary").focus();
  });
})();
