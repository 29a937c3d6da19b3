/* LiveJob reads one job, from its stream (EventSource) or its polling twin, without gap or repeat. It knows nothing of the page.
 *
 *   new LiveJob({streamUrl, eventsUrl, after, onEvents, onState, onConnection, onEnd}).start()
 *
 * onEvents(list of new lines, in order), onState(snapshot), onEnd(snapshot): as tasks/selectors.py gives them;
 * onConnection(one of connecting, live, polling, waiting, ended, refused; with refused: the server's sentence). The format is that of
 * tasks/frames.py.
 */
"use strict";

(() => {
  const SECOND = 1000;
  const FIRST_FRAME = 10 * SECOND; // a stream says something at once; where it does not, a proxy swallows it
  const SILENCE = 40 * SECOND; // more than two heartbeats
  const POLL = 1 * SECOND;
  const POLL_HIDDEN = 10 * SECOND;
  const POLL_ENDED = 15 * SECOND; // a job that failed may be resumed by somebody
  const STREAM_AGAIN = 30 * SECOND; // how long to poll before the stream is tried again
  const STREAM_TRIES = 3;
  const LONGEST_PAUSE = 30 * SECOND;
  const PAGE = 1000;
  const REFUSALS = [400, 401, 403, 404]; // trying again would not help; the answer says why

  class LiveJob {
    constructor({ streamUrl, eventsUrl, after = 0, onEvents, onState, onConnection, onEnd }) {
      Object.assign(this, { streamUrl, eventsUrl, onEvents, onState, onConnection, onEnd });
      this.last = after; // the number of the last line that was taken
      this.snapshot = null;
      this.connection = "";
      this.failures = 0; // since the last word from the server
      this.swallowed = 0; // streams that broke or were silent though the server answers: does something between us not let them through?
      this.streamFailed = false;
      this.source = this.timer = this.watchdog = null;
      this.stopped = this.hidden = this.over = false;
      this.run = 0; // raised whenever the reader changes its mind, so that answers to older questions are dropped
      this.streamAgain = 0;
    }

    start() {
      this.stopped = false;
      this._next(0, this._wantsStream() ? this._stream : this._poll);
    }

    stop() {
      this.stopped = true;
      this._drop();
    }

    /* The page was hidden or shown. Hidden pages poll slowly; a shown one is at once where it would have been. */
    setHidden(hidden) {
      if (hidden === this.hidden || this.stopped) return;
      this.hidden = hidden;
      this.start();
    }

    /* The network is back: don't wait any longer. */
    retry() {
      if (!this.stopped && this.connection === "waiting") this.start();
    }

    _wantsStream() {
      return !!window.EventSource && !this.hidden && !this.over && this.swallowed < STREAM_TRIES;
    }

    _drop() {
      this.run += 1;
      clearTimeout(this.timer);
      clearTimeout(this.watchdog);
      this.watchdog = null;
      if (this.source) this.source.close();
      this.source = null;
    }

    _next(pause, act) {
      this._drop();
      if (!this.stopped) this.timer = setTimeout(() => act.call(this), pause);
    }

    _say(connection, sentence) {
      if (connection === this.connection) return;
      this.connection = connection;
      this.onConnection?.(connection, sentence);
    }

    /* The source has failed when nothing is heard until then. Called for every line, so the one timer runs on and looks again. */
    _watch(pause) {
      this.deadline = performance.now() + pause;
      this.watchdog ??= setTimeout(() => this._look(), pause);
    }

    _look() {
      this.watchdog = null;
      const left = this.deadline - performance.now();
      if (left > 0) this._watch(left);
      else this._failed();
    }

    // -- the stream

    _stream() {
      this._say(this.failures ? "waiting" : "connecting");
      const source = (this.source = new EventSource(`${this.streamUrl}?after=${this.last}`));
      const heard = (act) => (event) => {
        if (source !== this.source) return;
        this.failures = this.swallowed = 0;
        this._watch(SILENCE);
        this._say("live");
        act(event);
      };
      source.onmessage = heard((event) => this._take([JSON.parse(event.data)]));
      source.addEventListener("state", heard((event) => this._state(JSON.parse(event.data))));
      source.addEventListener("heartbeat", heard(() => {}));
      source.addEventListener("done", heard(() => this._ended()));
      source.addEventListener("refused", heard((event) => this._refused(JSON.parse(event.data).detail)));
      source.onerror = () => this._broken(source);
      this._watch(FIRST_FRAME);
    }

    /* The browser comes back by itself, with Last-Event-ID, unless the answer was an error; then we find out which. */
    _broken(source) {
      if (source !== this.source) return;
      if (source.readyState === EventSource.CLOSED) {
        this._failed();
      } else if (this.connection !== "waiting") {
        this._say("waiting");
        clearTimeout(this.watchdog); // it may be set for much later
        this.watchdog = null;
        this._watch(FIRST_FRAME);
      }
    }

    _failed() {
      this.failures += 1;
      this.streamFailed ||= this.source !== null;
      this._say("waiting");
      this._next(this._pause(), this._poll);
    }

    _pause() {
      const longest = Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(this.failures, 10));
      return longest * (0.5 + Math.random() / 2); // not all browsers at once after a restart
    }

    // -- the polling twin

    async _poll() {
      const run = this.run;
      let answer = null;
      try {
        const response = await fetch(`${this.eventsUrl}?after=${this.last}&limit=${PAGE}`, {
          cache: "no-store", credentials: "same-origin", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(FIRST_FRAME),
        });
        if (run !== this.run) return;
        if (REFUSALS.includes(response.status)) return this._refused((await response.json()).detail);
        if (response.ok) answer = await response.json();
      } catch (error) {
        console.debug("asking for the log failed", error); // the network; it is tried again below, and the page says so
      }
      if (run !== this.run) return;
      if (answer) this._answered(answer);
      else this._failed();
    }

    _answered({ job, events, next, more }) {
      this.failures = 0;
      this._judgeStream();
      this._take(events);
      this.last = Math.max(this.last, next);
      this._state(job);
      if (more) return this._next(0, this._poll);
      if (job.ended) return this._ended();
      this.over = false;
      if (this._wantsStream()) return this._next(0, this._stream);
      if (!this.hidden) this._say("polling");
      this._next(this.hidden ? POLL_HIDDEN : POLL, this._poll);
    }

    /* Too many streams that broke though the server answers: poll for a while, then let one more try. */
    _judgeStream() {
      if (this.streamFailed) this.swallowed += 1;
      if (this.streamFailed && this.swallowed >= STREAM_TRIES) this.streamAgain = Date.now() + STREAM_AGAIN;
      else if (this.swallowed >= STREAM_TRIES && Date.now() >= this.streamAgain) this.swallowed = STREAM_TRIES - 1;
      this.streamFailed = false;
    }

    // -- both

    _take(events) {
      const fresh = events.filter((event) => event.seq > this.last);
      if (!fresh.length) return;
      this.last = fresh[fresh.length - 1].seq;
      this.onEvents?.(fresh);
    }

    _state(snapshot) {
      this.snapshot = snapshot;
      this.onState?.(snapshot);
    }

    _ended() {
      const first = !this.over;
      this.over = true;
      this.failures = 0;
      this._say("ended");
      if (first) this.onEnd?.(this.snapshot);
      if (this.snapshot && this.snapshot.status !== "done") this._next(POLL_ENDED, this._poll);
      else this._drop();
    }

    _refused(sentence) {
      this.stop();
      this._say("refused", sentence);
    }
  }

  window.LiveJob = LiveJob;
})();
