/* The job page beside its log: how long the job and its steps have taken, and what stood in the way once it has ended.
 *
 *   <span data-start="2026-01-01T12:00:00Z" data-end="">        how long: to the end, or to now while there is none
 *   <div id="job-obstacles"></div>, <div id="job-outcome"></div>   taken from the page again when the job has ended
 */
"use strict";

(() => {
  const job = document.getElementById("job");
  if (!job) return;

  const two = (number) => String(Math.floor(number)).padStart(2, "0");

  const duration = (seconds) => {
    if (seconds < 10) return `${Math.max(seconds, 0).toLocaleString(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} s`;
    if (seconds < 60) return `${Math.floor(seconds)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
    return `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} min`;
  };

  const tick = () => {
    for (const element of job.querySelectorAll("[data-start]")) {
      const { start, end } = element.dataset;
      const text = start ? duration((new Date(end || Date.now()) - new Date(start)) / 1000) : "";
      if (element.textContent !== text) element.textContent = text;
    }
  };

  const set = (element, start, end) => {
    if (!element) return;
    element.dataset.start = start || "";
    element.dataset.end = end || "";
  };

  job.addEventListener("job:state", (event) => {
    const state = event.detail;
    set(document.getElementById("job-took"), state.started_at, state.finished_at);
    for (const step of state.steps) set(job.querySelector(`[data-step="${Number(step.position)}"] [data-part="took"]`), step.started_at, step.finished_at);
    tick();
  });

  job.addEventListener("job:end", async () => {
    const answer = await fetch(window.location.href, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) return;
    for (const id of ["job-obstacles", "job-outcome"]) {
      const fresh = page.getElementById(id);
      if (fresh) document.getElementById(id).replaceChildren(...fresh.childNodes);
    }
  });

  window.setInterval(tick, 1000);
})();
