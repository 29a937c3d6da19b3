/* The live job page: its log, its steps and its state, kept current without a reload.
 *
 * live-reader.js reads the job's stream, resumes at the last line it has, and asks the polling twin where streams do not get
 * through; live-log.js shows the lines; this file joins the two with the page. Load the three in this order, deferred.
 *
 * What it needs from the page (the page works without any part marked "optional"; every part may be absent but the first):
 *
 *   <div id="job" data-job-id="12" data-status="running"             data-status is kept current: style by #job[data-status="..."]
 *        data-stream-url="/jobs/12/stream" data-events-url="/jobs/12/events">
 *     <span id="job-status">running</span>                            optional; text = words.status[status], data-status too
 *     <p id="job-summary" hidden></p> <p id="job-hint" hidden></p>    optional; text, `hidden` while empty
 *     <span id="job-connection"></span>                               optional; text = words.connection[state], or why it was refused; data-state =
 *                                                                     connecting | live | polling | waiting | ended | refused
 *     <ol id="job-steps">                                             optional
 *       <li data-step="1" data-status="done">                         data-step = position; data-status is kept current
 *         <span data-part="title"></span>                             filled only in steps that appear later (from the template)
 *         <span data-part="status"></span>                            words.step[status]
 *         <span data-part="sentence"></span> <span data-part="hint"></span>                 `hidden` while empty
 *         <progress data-part="bar" max="1"></progress>               `hidden` when the step is not running or has no total
 *         <span data-part="progress"></span>                          "42 % · 430 MB of 1.0 GB · 85 MB/s · 0:07 left", `hidden` while empty
 *       </li>
 *     </ol>
 *     <template id="job-step-template"><li>...same parts...</li></template>                 optional; steps that appear later
 *     <div id="job-log" tabindex="0" role="log"></div>                the scrolling box (give it a height and overflow: auto)
 *     <button id="job-follow" type="button" aria-pressed="true">      optional; follow the end of the log; scrolling up lets go
 *     <span id="job-lines"></span>                                    optional; the number of lines so far
 *     [data-when="active"], [data-when="ended"]                       optional; `hidden` is set to match (cancel form, resume form, spinner)
 *     [data-when-status="failed needs_operator"]                      optional; shown while the status is one of these
 *   </div>
 *   <script type="application/json" id="job-words">{...}</script>     optional: {{ words|json_script:"job-words" }}; see WORDS below
 *   <script src="{% static 'js/live-reader.js' %}" defer></script>, then live-log.js, then live.js
 *
 * What it puts into #job-log: blocks of lines (`content-visibility: auto`, set in CSS), a line is
 *   <div class="line" data-level="output" data-step="3" data-time="12:34:56">text</div>
 * show the time with `.line::before { content: attr(data-time) }`. Levels: step, info, command, output, warning, error.
 * CSS wanted:  .lines { content-visibility: auto; contain-intrinsic-size: auto 2000px }  .line { white-space: pre-wrap; overflow-wrap: anywhere }
 *
 * WORDS (below) is what #job-words may hold; what is missing there is said in English.
 *
 * For other scripts: `document.getElementById("job")` fires "job:state" (detail: the snapshot), "job:connection" (detail: the state)
 * and "job:end" (detail: the snapshot). Snapshots are those of tasks/selectors.py.
 */
"use strict";

(() => {
  const WORDS = {
    status: {}, step: {}, connection: {},
    lines: { one: "{n} line", other: "{n} lines" },
    progress: { of: "{done} of {total}", rate: "{rate}/s", left: "{time} left" },
  };

  const HIDDEN_AFTER = 20_000; // ms; a browser opens six connections to a panel, and pages that nobody looks at give theirs back

  // -- how values are written

  const language = document.documentElement.lang || "en";
  const integer = new Intl.NumberFormat(language);
  const plural = new Intl.PluralRules(language);
  const oneDigit = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

  const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  /* In units of 1024, as the rest of the panel and pg_size_pretty count. */
  function amount(number, unit) {
    if (unit !== "bytes") return `${integer.format(Math.round(number))}${unit ? ` ${unit}` : ""}`;
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let power = 0;
    while (number >= 1024 && power < units.length - 1) {
      number /= 1024;
      power += 1;
    }
    return `${power > 0 && number < 100 ? oneDigit.format(number) : integer.format(Math.round(number))} ${units[power]}`;
  }

  function time(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const whole = Math.round(seconds);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  }

  function progressText({ done, total, unit, rate, seconds_left: left }, words) {
    if (typeof done !== "number") return "";
    const parts = [total ? fill(words.of, { done: amount(done, unit), total: amount(total, unit) }) : amount(done, unit)];
    if (total) parts.unshift(`${Math.min(100, Math.floor((100 * done) / total))} %`);
    if (rate) parts.push(fill(words.rate, { rate: amount(rate, unit) }));
    if (typeof left === "number") parts.push(fill(words.left, { time: time(left) }));
    return parts.join(" · ");
  }

  // -- the page

  function show(element, text) {
    if (!element) return;
    if (element.textContent !== text) element.textContent = text;
    element.hidden = !text;
  }

  class JobPage {
    constructor(root) {
      this.root = root;
      this.words = this._words();
      this.part = (id) => document.getElementById(id);
      const box = this.part("job-log");
      this.log = box && new LiveLog(box, this.part("job-follow"), (number) => this._lines(number));
      this.reader = new LiveJob({
        streamUrl: root.dataset.streamUrl,
        eventsUrl: root.dataset.eventsUrl,
        onEvents: (events) => this.log?.add(events),
        onState: (snapshot) => this._state(snapshot),
        onConnection: (connection, sentence) => this._connection(connection, sentence),
        onEnd: (snapshot) => this._fire("job:end", snapshot),
      });
    }

    async start() {
      if (!this.log) await this._skipLog();
      this._watchPage();
      this.reader.start();
    }

    /* A page that shows the state only begins at the end of the log. */
    async _skipLog() {
      try {
        const response = await fetch(`${this.root.dataset.eventsUrl}?limit=1`, { headers: { Accept: "application/json" } });
        if (response.ok) this.reader.last = (await response.json()).job.last_event;
      } catch (error) {
        console.debug("asking for the end of the log failed", error); // then the lines come too, and are not shown
      }
    }

    _watchPage() {
      let timer;
      document.addEventListener("visibilitychange", () => {
        clearTimeout(timer);
        if (document.hidden) timer = setTimeout(() => this.reader.setHidden(true), HIDDEN_AFTER);
        else this.reader.setHidden(false);
      });
      window.addEventListener("online", () => this.reader.retry());
      window.addEventListener("pagehide", () => this.reader.stop());
      window.addEventListener("pageshow", (event) => event.persisted && this.reader.start());
    }

    _words() {
      const given = JSON.parse(document.getElementById("job-words")?.textContent || "{}");
      return Object.fromEntries(Object.entries(WORDS).map(([name, words]) => [name, { ...words, ...given[name] }]));
    }

    _fire(name, detail) {
      this.root.dispatchEvent(new CustomEvent(name, { detail }));
    }

    _lines(number) {
      const sentence = this.words.lines[plural.select(number)] || this.words.lines.other;
      show(this.part("job-lines"), fill(sentence, { n: integer.format(number) }));
    }

    _connection(connection, sentence) {
      const element = this.part("job-connection");
      if (element) element.dataset.state = connection;
      show(element, sentence || this.words.connection[connection] || connection);
      this._fire("job:connection", connection);
    }

    _state(snapshot) {
      this.root.dataset.status = snapshot.status;
      const status = this.part("job-status");
      if (status) status.dataset.status = snapshot.status;
      show(status, this.words.status[snapshot.status] || snapshot.status);
      show(this.part("job-summary"), snapshot.summary);
      show(this.part("job-hint"), snapshot.hint);
      snapshot.steps.forEach((step) => this._step(step));
      this._when(snapshot);
      this._fire("job:state", snapshot);
    }

    _when(snapshot) {
      for (const element of this.root.querySelectorAll("[data-when]")) {
        element.hidden = (element.dataset.when === "ended") !== snapshot.ended;
      }
      for (const element of this.root.querySelectorAll("[data-when-status]")) {
        element.hidden = !element.dataset.whenStatus.split(" ").includes(snapshot.status);
      }
    }

    _step(step) {
      const item = this._item(step);
      if (!item) return;
      const part = (name) => item.querySelector(`[data-part="${name}"]`);
      const running = step.status === "running" || step.status === "undoing";
      item.dataset.status = step.status;
      show(part("status"), this.words.step[step.status] || step.status);
      show(part("sentence"), step.sentence);
      show(part("hint"), step.hint);
      show(part("progress"), running ? progressText(step.progress, this.words.progress) : "");
      const bar = part("bar");
      if (!bar) return;
      bar.hidden = !(running && step.progress.total);
      if (!bar.hidden) bar.value = Math.min(1, step.progress.done / step.progress.total);
    }

    /* The step's element; a step that the page does not have yet (the job was begun by another version) is made from the template. */
    _item(step) {
      const list = this.part("job-steps");
      const found = list?.querySelector(`:scope > [data-step="${step.position}"]`);
      const template = this.part("job-step-template");
      if (found || !list || !template) return found;
      const item = template.content.firstElementChild.cloneNode(true);
      item.dataset.step = step.position;
      show(item.querySelector('[data-part="title"]'), step.title);
      return list.appendChild(item);
    }
  }

  const root = document.getElementById("job");
  if (root?.dataset.streamUrl) new JobPage(root).start();
})();
