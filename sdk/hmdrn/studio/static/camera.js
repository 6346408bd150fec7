"use strict";

// This browser's camera: its frames are named by the studio, and boxes and names drawn over its own picture.
(() => {
  const byId = (name) => document.getElementById(`camera-${name}`);
  const [start, pause, answer, evidence, figures] = ["start", "pause", "answer", "evidence", "figures"].map(byId);
  const [area, view, whole, motion, enrolling] = ["area", "view", "whole", "motion", "enroll"].map(byId);
  const video = document.getElementById("camera");
  const edges = [...view.querySelectorAll(".box input")];
  const canvas = document.createElement("canvas");
  const key = `${Date.now()}-${Math.random()}`;
  const REASONS = {
    NotFoundError: "There is no camera here: connect one, or choose a photo.",
    NotAllowedError: "The browser does not allow the camera: allow it beside the address of this page.",
    NotReadableError: "Another program uses the camera: close it, and try again.",
  };
  const MAX_SIDE = 640, MAX_FRAMES = 20, PAUSE_MS = 100;
  let stream = null, frames = [], times = [];

  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const sides = () => edges.map((edge) => edge.value);
  const region = () => (sides().some((side) => side === "") ? null : sides().map(Number));
  const toBlob = (source) => new Promise((done) => source.toBlob(done, "image/jpeg", 0.9));

  const outline = pickBoxes(area, (shares) => {
    toPixels(shares, canvas.width, canvas.height).forEach((side, i) => { edges[i].value = side; });
    frames = [];
  });
  function outlineRegion() {
    const box = region();
    outline(box && box.map((side, i) => Math.min(1, side / (i % 2 ? canvas.height : canvas.width))));
    frames = [];
  }
  view.addEventListener("change", outlineRegion);
  whole.addEventListener("click", () => { for (const edge of edges) edge.value = ""; outlineRegion(); });

  const percents = (box) => box.map((side, i) => (100 * side) / (i % 2 ? canvas.height : canvas.width));

  function draw(subjects) {
    for (const old of area.querySelectorAll(".seen, .seen-name")) old.remove();
    for (const { name, state, probability, evidence: reason, box } of subjects) {
      const [x0, y0, x1, y1] = box ? percents(box) : [0, 0, 100, 100];
      const label = document.createElement("div"), small = document.createElement("small");
      const left = Math.min(x0, 60);
      label.className = `seen-name ${state}`;
      label.textContent = state === "species" ? `${name} ${Math.round(100 * probability)} %` : name;
      small.textContent = reason;
      if (reason) label.append(small);
      Object.assign(label.style, { left: `${left}%`, maxWidth: `${100 - left}%` });
      if (y0 > 15) label.style.bottom = `${100 - y0}%`; else label.style.top = `${y0}%`;
      if (box) {
        const edge = document.createElement("div");
        edge.className = `seen ${state}`;
        Object.assign(edge.style, { left: `${x0}%`, top: `${y0}%`, width: `${x1 - x0}%`, height: `${y1 - y0}%` });
        area.append(edge);
      }
      label.setAttribute("aria-hidden", "true"); // the same is below, for screen readers too
      area.append(label);
    }
    say(evidence, subjects.map((s) => [s.name, s.state === "species" && `${Math.round(100 * s.probability)} %`,
      s.evidence].filter(Boolean).join(", ")).join("; "));
  }

  // The frame's only subject may be enrolled; of several it is unclear which one is meant.
  async function keep(subjects) {
    if (subjects.length !== 1) return;
    const [x0, y0, x1, y1] = (subjects[0].box || [0, 0, canvas.width, canvas.height]).map(Math.round);
    const crop = document.createElement("canvas");
    Object.assign(crop, { width: x1 - x0, height: y1 - y0 });
    crop.getContext("2d").drawImage(canvas, -x0, -y0);
    frames.push(await toBlob(crop));
    if (frames.length > MAX_FRAMES) frames.shift();
  }

  async function nameFrame() {
    const captured = performance.now(), box = region();
    const scale = Math.min(1, MAX_SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const form = new FormData();
    form.append("frame", await toBlob(canvas), "frame.jpg");
    form.append("camera", key);
    if (box) form.append("region", box.join(","));
    if (motion.checked) form.append("detector", "motion");
    const sent = stream, reply = await fetch("/classify/frame", { method: "POST", body: form });
    if (reply.status === 401) { say(answer, await reply.text()); return; }
    const named = await reply.json();
    if (stream !== sent || video.paused) return;
    say(answer, named.answer || named.error);
    draw(named.subjects || []);
    times = [...times, performance.now()].slice(-10);
    const rate = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0;
    const latency = Math.round(performance.now() - captured);
    say(figures, `${rate.toFixed(1)} frames a second, ${latency} ms from capture to name. ${named.message || ""}`);
    await keep(named.subjects || []);
  }

  async function nameFrames(current) {
    while (stream === current) {
      if (!video.paused && !document.hidden && video.videoWidth) {
        try { await nameFrame(); } catch { if (stream === current) say(answer, "The studio does not answer."); }
      }
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }

  function stop(text) {
    for (const track of stream.getTracks()) track.stop();
    stream = null;
    draw([]);
    figures.textContent = "";
    for (const part of [area, view, enrolling, pause]) part.hidden = true;
    start.textContent = "Start the camera";
    answer.textContent = text;
  }

  start.addEventListener("click", async () => {
    if (stream) { stop(""); return; }
    if (!navigator.mediaDevices) {
      answer.textContent = "Browsers give a page the camera on this machine itself, or over https, only. " +
        "Start the studio with --certificate, or choose a photo.";
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      answer.textContent = REASONS[error.name] || `No camera: ${error.message}`;
      return;
    }
    edited = true; // the page must not show changes by itself now
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => stop("The camera is gone: connect it, and start again."));
    }
    video.srcObject = stream;
    frames = []; times = [];
    for (const part of [area, view, enrolling, pause]) part.hidden = false;
    start.textContent = "Stop the camera";
    pause.textContent = "Pause";
    nameFrames(stream);
  });

  pause.addEventListener("click", () => {
    const goesOn = video.paused;
    if (goesOn) video.play(); else { video.pause(); answer.textContent = "paused"; }
    times = [];
    pause.textContent = goesOn ? "Pause" : "Continue";
  });

  enrolling.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = new FormData(enrolling);
    for (const frame of frames) form.append("frames", frame, "frame.jpg");
    location.href = (await fetch(enrolling.action, { method: "POST", body: form })).url;
  });
})();
