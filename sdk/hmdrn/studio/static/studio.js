"use strict";

// A page whose content has changed elsewhere says so, and shows it by itself where nobody is typing.
const stale = document.getElementById("stale");
let edited = false;
document.addEventListener("input", () => { edited = true; });

async function checkVersion() {
  try {
    const answer = await fetch("/version", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== document.body.dataset.version) {
      const busy = edited || document.hidden || document.querySelector("[data-live]");
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
