/* The live job page: its log, its steps and its state, kept current without a reload.
 *
 * It reads the job's stream (EventSource), resumes at the last line it has, and falls back to asking the polling twin where
 * streams do not get through. Text that comes from the server is only ever put into text nodes: a log line is hostile.
 *
 * What it needs from the page (the page works without any part marked "optional"; every part may be absent but the first):
 *
 *   <div id="job" data-job-id="12" data-status="running"             data-status is kept current: style by #job[data-status="..."]
 *        data-stream-url="/jobs/12/stream" data-events-url="/jobs/12/events">
 *     <span id="job-status">running</span>                            optional; text = words.status[status], data-status too
 *     <p id="job-summary" hidden></p> <p id="job-hint" hidden></p>    optional; text, `hidden` while empty
 *     <span id="job-connection"></span>                               optional; text = words.connection[state]; data-state =
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
 *   <script src="{% static 'js/live.js' %}" defer></script>
 *
 * What it puts into #job-log: blocks of lines (`content-visibility: auto`, set in CSS), a line is
 *   <div class="line" data-level="output" data-step="3" data-time="12:34:56">text</div>
 * show the time with `.line::before { content: attr(data-time) }`. Levels: step, info, command, output, warning, error.
 * CSS wanted:  .lines { content-visibility: auto; contain-intrinsic-size: auto 2000px }  .line { white-space: pre-wrap; overflow-wrap: anywhere }
 *
 * For other scripts: `document.getElementById("job")` fires "job:state" (detail: the snapshot), "job:connection" (detail: the state)
 * and "job:end" (detail: the snapshot); `new LiveJob({streamUrl, eventsUrl, after, onEvents, onState, onConnection, onEnd})`
 * is the reader without a page.
 */
