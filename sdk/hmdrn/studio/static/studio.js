"use strict";

// A page whose content has changed elsewhere says so, and shows it by itself where nobody is typing or watching.
const stale = document.getElementById("stale");
let edited = false;
document.addEventListener("input", () => { edited = true; });

async function checkVersion() {
  try {
    const answer = await fetch("/version", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== document.body.dataset.version) {
      const busy = edited || document.hidden || document.querySelector("[data-live], .clip[open]");
      if (busy) stale.hidden = false; else location.reload();
    }
  } catch { /* the server is away for a moment */ }
}
setInterval(() => { if (!document.hidden) checkVersion(); }, 3000);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  edited = true;
  // After the browser has taken the button's value.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    const pressed = event.submitter;
    if (pressed) pressed.textContent = "Working…";
  }, 0);
});

let waiting = 0;
for (const slider of document.querySelectorAll("[data-cost]")) {
  const output = document.getElementById("rate-cost");
  slider.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const answer = await fetch(`${slider.dataset.cost}?rate=${slider.value}`);
      if (!answer.ok) { output.textContent = await answer.text(); return; }
      const { rate, cost } = await answer.json();
      output.textContent = `${rate}: ${cost}`;
    }, 200);
  });
}

// One key corrects the visit that has the focus; a checkbox turns the keys off.
const keys = document.getElementById("keys");
if (keys) {
  const on = document.getElementById("keys-on");
  const visits = [...document.querySelectorAll("[data-visit]")];
  const actions = { r: "confirm", x: "none", e: "other", w: "why" };
  keys.hidden = false;
  keys.open = matchMedia("(min-width: 40rem)").matches;
  on.checked = localStorage.getItem("keys") !== "off";
  on.addEventListener("change", () => localStorage.setItem("keys", on.checked ? "on" : "off"));
  const target = location.hash && document.querySelector(location.hash);
  if (target) target.focus();

  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, select, textarea");
    if (!on.checked || field || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const current = document.activeElement.closest("[data-visit]");
    let pressed = null;
    if (key === "j" || key === "k") {
      const place = visits.indexOf(current) + (key === "j" ? 1 : -1);
      visits[Math.min(Math.max(place, 0), visits.length - 1)].focus();
    } else if (key === "u") pressed = document.querySelector("[data-action=undo]");
    else if (current && actions[key]) pressed = current.querySelector(`[data-action=${actions[key]}]`);
    else if (current && /^[1-9]$/.test(key)) pressed = current.querySelector(`[data-key="${key}"]`);
    else return;
    event.preventDefault();
    if (!pressed) return;
    pressed.click();
    if (key === "e") current.querySelector(".name-it input[name=label]").focus();
  });
}

// The end of a job changes the version, which shows its result.
const job = document.getElementById("job");
if (job) {
  const step = document.getElementById("job-step");
  const bar = job.querySelector("progress");
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const status = await (await fetch("/jobs/status")).json();
      if (status.state !== "running") { if (!edited) location.reload(); else checkVersion(); return; }
      step.textContent = status.step || "starting";
      if (status.total > 1) { bar.max = status.total; bar.value = status.done; } else bar.removeAttribute("value");
    } catch { /* the server is away for a moment */ }
  }, 500);
}

// Dragging over a picture gives a box, in shares of its sides. A finger that moves up or down scrolls.
function pickBoxes(area, use) {
  const selection = document.createElement("div");
  selection.className = "selection";
  selection.hidden = true;
  area.append(selection);
  let start = null, box = null;
  const place = (event) => {
    const { left, top, width, height } = area.getBoundingClientRect();
    const share = (value) => Math.min(1, Math.max(0, value));
    return [share((event.clientX - left) / width), share((event.clientY - top) / height)];
  };
  area.addEventListener("dragstart", (event) => event.preventDefault());
  area.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    start = place(event);
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = place(event);
    box = [0, 1].map((i) => Math.min(start[i], end[i])).concat([0, 1].map((i) => Math.max(start[i], end[i])));
    show(box);
  });
  area.addEventListener("pointercancel", () => { start = box = null; selection.hidden = true; });
  area.addEventListener("pointerup", () => {
    if (box && box[2] - box[0] > 0.02 && box[3] - box[1] > 0.02) use(box);
    start = box = null;
  });
  function show(shares) {
    selection.hidden = !shares;
    if (!shares) return;
    const [x0, y0, x1, y1] = shares.map((share) => 100 * share);
    Object.assign(selection.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
  }
  return show;
}

const toPixels = (box, width, height) => box.map((share, i) => Math.round(share * (i % 2 ? height : width)));

for (const area of document.querySelectorAll("[data-pick]")) {
  const form = document.getElementById(area.dataset.pick);
  pickBoxes(area, async (box) => {
    const { size } = await (await fetch("/live/status")).json();
    if (!size) return;
    const fields = form.querySelectorAll(".box input");
    toPixels(box, ...size).forEach((side, i) => { fields[i].value = side; });
    form.requestSubmit(form.querySelector("button"));
  });
}

const liveAnswer = document.getElementById("live-answer");
if (liveAnswer) {
  const evidence = document.getElementById("live-evidence");
  const figures = document.getElementById("live-figures");
  const picture = document.querySelector("[data-live]");
  // A page that nobody sees costs the device nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) picture.removeAttribute("src"); else picture.src = "/live/picture";
  });
  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const update = async () => {
    if (document.hidden) return;
    try {
      const status = await (await fetch("/live/status")).json();
      const names = status.subjects.map((s) => s.known && s.state === "species" ? `${s.name}, known` : s.name);
      // A screen reader says this one aloud, so it has no figures.
      say(liveAnswer, status.is_paused ? "paused" : status.has_ended ? "ended" : names.join("; ") || "nothing there");
      // Of one subject the name is in the line above, unless that says that the picture stands still.
      const isNamedAbove = names.length === 1 && !status.is_paused && !status.has_ended;
      say(evidence, status.subjects.map((s) => [!isNamedAbove && s.name, s.state === "species" && s.probability !== null &&
        `${Math.round(100 * s.probability)} %`, s.evidence].filter(Boolean).join(", ")).join("; "));
      figures.textContent = `${status.rate.toFixed(1)} frames a second, ` +
        `${Math.round(1000 * status.latency)} ms from capture to name. ${status.message}`;
    } catch { /* the server is away for a moment */ }
  };
  update();
  setInterval(update, 700);
}
