/* What a chart does beyond being looked at: the values at one moment, and another range drawn with the pointer.
 *
 *   <div class="pg-plot" data-chart="lag_bytes" data-start="1700000000" data-end="..." data-samples="/api/v1/...">
 *
 * The figures are asked for when somebody first points at a chart or comes to it with the keyboard (arrow keys, Home, End). Without this
 * script the table below each chart says the same, and the fields "from" and "to" choose the range.
 */
"use strict";

(() => {
  const language = document.documentElement.lang || undefined;
  const number = (value, digits) => value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const bytes = (value) => {
    let [size, power] = [value, 0];
    while (size >= 1024 && power < 4) [size, power] = [size / 1024, power + 1];
    return power ? `${number(size, size < 100 ? 1 : 0)} ${["kB", "MB", "GB", "TB"][power - 1]}` : `${number(size, 0)} B`;
  };
  const seconds = (value) => (value < 10 ? `${number(value, 1)} s` : value < 60 ? `${number(value, 0)} s` : value < 3600 ? `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s` : `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`);
  const SAY = { bytes, "bytes/s": (value) => `${bytes(value)}/s`, seconds, number: (value) => number(value, 0), share: (value) => `${number(100 * value, 1)} %` };
  const loaded = new WeakMap();

  const figures = (plot) => {
    if (!loaded.has(plot)) {
      const iso = (moment) => encodeURIComponent(new Date(moment * 1000).toISOString());
      const address = `${plot.dataset.samples}&from=${iso(plot.dataset.start)}&to=${iso(plot.dataset.end - 1)}`;
      const answer = fetch(address, { credentials: "same-origin", signal: AbortSignal.timeout(10000) }).then((response) => {
        if (!response.ok) throw new Error(`the panel answered ${response.status}`);
        return response.json();
      });
      answer.catch(() => loaded.delete(plot)); /* asked again at the next move */
      loaded.set(plot, answer);
    }
    return loaded.get(plot);
  };

  const value = (unit, low, high) => (high === null ? "–" : low === high ? SAY[unit](high) : `${SAY[unit](low)} … ${SAY[unit](high)}`);

  const leave = (plot) => plot.querySelector(".pg-cross")?.remove();

  /* `share`: where on the chart, 0 to 1. */
  const show = async (plot, share) => {
    const wanted = (plot.wanted = {});
    let shown;
    try {
      shown = await figures(plot);
    } catch {
      return;
    }
    if (plot.wanted !== wanted) return;
    const at = Math.min(shown.points - 1, Math.max(0, Math.floor(share * shown.points)));
    const time = new Date(new Date(shown.begin).getTime() + at * shown.step_seconds * 1000);
    const words = [time.toLocaleString(language, { dateStyle: "short", timeStyle: "medium" }), ...shown.series.map((series) => `${series.instance}: ${value(shown.unit, series.low[at], series.high[at])}`)];
    leave(plot);
    const cross = document.createElement("div");
    const box = document.createElement("div");
    cross.className = share > 0.5 ? "pg-cross pg-cross-left" : "pg-cross";
    cross.setAttribute("aria-hidden", "true");
    cross.style.left = `${(100 * (at + 0.5)) / shown.points}%`;
    for (const line of words) {
      const row = document.createElement("div");
      row.textContent = line;
      box.append(row);
    }
    cross.append(box);
    plot.append(cross);
    const hair = plot.querySelector(".pg-hair");
    hair.max = shown.points - 1;
    hair.value = at;
    hair.setAttribute("aria-valuetext", words.join(", "));
  };

  const share = (plot, event) => {
    const box = plot.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };

  const go = (plot, from, to) => {
    const [start, end] = [Number(plot.dataset.start), Number(plot.dataset.end)];
    const moment = (part) => new Date(Math.round(start + part * (end - start)) * 1000).toISOString().slice(0, 19) + "Z";
    window.location.search = new URLSearchParams({ from: moment(from), to: moment(to) });
  };

  const draw = (plot, from, to) => {
    let part = plot.querySelector(".pg-chosen");
    if (!part) {
      part = document.createElement("div");
      part.className = "pg-chosen";
      plot.append(part);
    }
    part.style.left = `${100 * Math.min(from, to)}%`;
    part.style.width = `${100 * Math.abs(to - from)}%`;
  };

  const plotOf = (event) => (event.target instanceof Element ? event.target.closest(".pg-plot[data-samples]") : null);
  let drag = null;

  document.addEventListener("pointerdown", (event) => {
    const plot = plotOf(event);
    if (plot && event.button === 0 && event.pointerType !== "touch" && !event.target.closest("a")) {
      drag = { plot, from: share(plot, event) };
      event.preventDefault();
    }
  });
  document.addEventListener("pointermove", (event) => {
    if (drag) {
      draw(drag.plot, drag.from, share(drag.plot, event));
      return;
    }
    const plot = plotOf(event);
    for (const other of document.querySelectorAll(".pg-plot")) if (other !== plot && !other.contains(document.activeElement)) leave(other);
    if (plot) show(plot, share(plot, event));
  });
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { plot, from } = drag;
    const to = share(plot, event);
    drag = null;
    plot.querySelector(".pg-chosen")?.remove();
    if (Math.abs(to - from) > 0.01) go(plot, Math.min(from, to), Math.max(from, to));
  });
  document.addEventListener("pointercancel", () => {
    drag?.plot.querySelector(".pg-chosen")?.remove();
    drag = null;
  });

  /* A slider over the time: the keyboard and the screen reader know what to do with one. */
  const equip = (plot) => {
    if (plot.querySelector(".pg-hair")) return;
    const hair = document.createElement("input");
    Object.assign(hair, { type: "range", className: "pg-hair", min: 0, max: 100, value: 100 });
    hair.setAttribute("aria-label", plot.closest("section").querySelector("h2").textContent);
    hair.addEventListener("focus", () => show(plot, 1));
    hair.addEventListener("blur", () => leave(plot));
    hair.addEventListener("input", () => show(plot, (Number(hair.value) + 0.5) / (Number(hair.max) + 1)));
    plot.append(hair);
  };
  const equipAll = () => {
    document.querySelectorAll(".pg-plot[data-samples]").forEach(equip);
    for (const words of document.querySelectorAll("[data-with-script]")) words.hidden = false;
  };

  equipAll();
  const part = document.getElementById("charts");
  if (part) new MutationObserver(equipAll).observe(part, { childList: true }); /* refresh.js puts new charts in place */
})();
