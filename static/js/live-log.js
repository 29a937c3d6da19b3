/* LiveLog shows the lines of a log in a scrolling box and follows its end, until the reader of the page scrolls up.
 *
 * The text comes from machines and is hostile: it goes into text nodes and nowhere else.
 */
"use strict";

(() => {
  /* The log: blocks of lines, of which the browser lays out only those in sight. It adds what came since the last frame at once. */
  class LiveLog {
    static BLOCK = 200;
    static BATCH = 2000; // lines added in one frame, so that a long log does not freeze the page while it comes
    static NEAR = 24; // pixels from the end that still count as the end

    /* `onLines(number)` is told how many lines there are, once a frame. */
    constructor(box, button, onLines) {
      this.box = box;
      this.onLines = onLines;
      this.lines = 0;
      this.button = button;
      this.all = box.appendChild(document.createElement("div"));
      this.queue = [];
      this.following = true;
      this.top = 0;
      this.scheduled = false;
      box.addEventListener("scroll", () => this._scrolled(), { passive: true });
      box.addEventListener("wheel", (event) => event.deltaY < 0 && this._scrollable() && this.follow(false), { passive: true });
      button?.addEventListener("click", () => this.follow(!this.following));
      // Lines get their true height when they are first laid out, and another one when the window changes: stay at the end.
      this.observer = new ResizeObserver(() => this._stick());
      this.observer.observe(this.all);
      this.observer.observe(box);
      this.follow(true);
    }

    add(events) {
      this.queue.push(...events);
      this._schedule();
    }

    follow(on) {
      this.following = on;
      this.box.style.overflowAnchor = on ? "none" : "auto";
      this.button?.setAttribute("aria-pressed", String(on));
      this._stick();
    }

    _scrollable() {
      return this.box.scrollHeight > this.box.clientHeight;
    }

    _stick() {
      if (!this.following) return;
      this.box.scrollTop = this.box.scrollHeight;
      this.top = this.box.scrollTop;
    }

    /* Going up lets go of the end, coming back to it takes hold again; growing lines move nobody. */
    _scrolled() {
      const { scrollTop, scrollHeight, clientHeight } = this.box;
      const near = scrollHeight - scrollTop - clientHeight <= LiveLog.NEAR;
      if (this.following && !near && scrollTop < this.top) this.follow(false);
      else if (!this.following && near && scrollTop > this.top) this.follow(true);
      this.top = this.box.scrollTop;
    }

    _schedule() {
      if (this.scheduled) return;
      this.scheduled = true;
      const flush = () => this._flush();
      if (document.hidden) setTimeout(flush, 250); // a hidden page has no frames
      else requestAnimationFrame(flush);
    }

    _flush() {
      this.scheduled = false;
      const events = this.queue.splice(0, LiveLog.BATCH);
      for (const event of events) this._block().append(this._line(event));
      this.lines += events.length;
      this.onLines(this.lines);
      this._stick();
      if (this.queue.length) this._schedule();
    }

    _block() {
      const last = this.all.lastElementChild;
      if (last && last.childElementCount < LiveLog.BLOCK) return last;
      const block = document.createElement("div");
      block.className = "lines";
      return this.all.appendChild(block);
    }

    _line(event) {
      const line = document.createElement("div");
      line.className = "line";
      line.dataset.level = event.level;
      line.dataset.time = new Date(event.at).toTimeString().slice(0, 8);
      if (event.step !== null) line.dataset.step = event.step;
      line.textContent = event.text;
      return line;
    }
  }

  window.LiveLog = LiveLog;
})();
