"use strict";

// Photos that are chosen can be cropped, and folders be dropped.
const crops = document.getElementById("crops");
if (crops) {
  const form = document.getElementById("enroll");
  const files = form.querySelector("input.drop");
  const note = document.getElementById("dropped");
  const label = form.querySelector("input[name=label]");
  let dropped = [];

  // Sent without it, the photos and crops would have to be chosen again.
  function checkName() {
    const isNeeded = [...files.files].some((file) => !file.name.toLowerCase().endsWith(".zip"));
    label.setCustomValidity(isNeeded && !label.value.trim() ? "Give the species a name." : "");
  }
  label.addEventListener("input", checkName);
  files.addEventListener("change", checkName);

  function say() {
    const species = new Set(dropped.map(({ path }) => path.split("/").slice(0, -1).join("/")));
    note.textContent = dropped.length ? `${dropped.length} files in ${species.size} folders were dropped.` : "";
  }

  function addCrop(file, index) {
    const item = document.createElement("li"), area = document.createElement("div");
    const picture = new Image(), box = document.createElement("input"), edges = document.createElement("details");
    area.className = "pick";
    picture.alt = `Drag to crop ${file.name}`;
    picture.src = URL.createObjectURL(file);
    // Formats that the browser cannot show are enrolled whole.
    picture.addEventListener("error", () => item.remove());
    Object.assign(box, { type: "hidden", name: "crop", disabled: true });
    area.append(picture);
    const title = document.createElement("summary");
    title.textContent = "Crop by numbers";
    edges.append(title);
    const fields = ["Left", "Top", "Right", "Bottom"].map((name) => {
      const label = document.createElement("label"), field = document.createElement("input");
      Object.assign(field, { type: "number", min: 0, inputMode: "numeric" });
      field.setAttribute("aria-label", `${name} edge of ${file.name}`);
      label.append(name, field);
      edges.append(label);
      field.addEventListener("input", apply);
      return field;
    });
    const whole = document.createElement("button");
    Object.assign(whole, { type: "button", textContent: "Whole photo" });
    whole.setAttribute("aria-label", `Whole photo ${file.name}`);
    whole.addEventListener("click", () => { for (const field of fields) field.value = ""; apply(); });
    const show = pickBoxes(area, (shares) => {
      toPixels(shares, picture.naturalWidth, picture.naturalHeight).forEach((side, i) => { fields[i].value = side; });
      apply();
    });
    function apply() {
      const sides = fields.map((field) => field.value);
      box.disabled = sides.some((side) => side === "");
      box.value = [index, ...sides].join(",");
      const lengths = [picture.naturalWidth, picture.naturalHeight];
      show(box.disabled ? null : sides.map((side, i) => Math.min(1, side / lengths[i % 2])));
    }
    item.append(area, box, edges, whole);
    crops.append(item);
  }

  files.addEventListener("change", () => {
    for (const picture of crops.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
    crops.replaceChildren();
    [...files.files].slice(0, 24).forEach((file, index) => {
      if (file.type.startsWith("image/")) addCrop(file, index);
    });
    crops.hidden = !crops.children.length;
  });

  async function walk(entry, path) {
    if (entry.isFile) {
      const file = await new Promise((done, fail) => entry.file(done, fail));
      dropped.push({ path: `${path}${entry.name}`, file });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const entries = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!entries.length) return;
      for (const child of entries) await walk(child, `${path}${entry.name}/`);
    }
  }

  files.addEventListener("drop", async (event) => {
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) return;
    event.preventDefault();
    edited = true;
    dropped = [];
    for (const entry of entries) await walk(entry, "");
    say();
  });

  // What one request cannot carry goes in several, which the studio keeps until the last one.
  const limits = { files: Number(form.dataset.files), bytes: Number(form.dataset.bytes),
    request: Number(form.dataset.requestBytes), part: Number(form.dataset.partBytes) };
  const megabytes = (bytes) => `${Math.ceil(bytes / 1e6).toLocaleString("en")} MB`;

  function listFiles(data) {
    const chosen = [...data.entries()].filter(([, value]) => value instanceof File && value.name)
      .map(([field, file]) => ({ field, file, path: file.webkitRelativePath || file.name }));
    if (!dropped.length) return chosen;
    return [...chosen.filter(({ field }) => field !== "folder"),
      ...dropped.map(({ path, file }) => ({ field: "folder", file, path }))];
  }

  function refuse(files, total) {
    const advice = "choose some species' folders at a time, or run hmdrn enroll on the device.";
    const large = files.find(({ file }) => file.size > limits.request);
    if (files.length > limits.files)
      return `${files.length.toLocaleString("en")} files, at most ${limits.files.toLocaleString("en")} at once: ${advice}`;
    if (large) return `${large.path} has ${megabytes(large.file.size)}, at most ${megabytes(limits.request)}: ${advice}`;
    if (total > limits.bytes) return `${megabytes(total)}, at most ${megabytes(limits.bytes)} at once: ${advice}`;
    return "";
  }

  function split(files) {
    const parts = [[]];
    let size = 0;
    for (const entry of files) {
      if (size && size + entry.file.size > limits.part) { parts.push([]); size = 0; }
      parts[parts.length - 1].push(entry);
      size += entry.file.size;
    }
    return parts;
  }

  async function send(parts, data, count) {
    let key = "", sent = 0;
    for (const part of parts) {
      const isLast = part === parts[parts.length - 1], body = isLast ? data : new FormData();
      body.set("upload", key);
      for (const { field, file, path } of part) body.append(field, file, path);
      if (!isLast) note.textContent = `Sending: ${sent} of ${count} files.`;
      const answer = await fetch(isLast ? form.action : "/enroll/part", { method: "POST", body });
      if (isLast || answer.redirected) { location.href = answer.url; return; }
      if (!answer.ok) { note.textContent = `Not sent: ${await answer.text()}`; return; }
      key = (await answer.json()).upload;
      sent += part.length;
    }
  }

  form.addEventListener("submit", async (event) => {
    const data = new FormData(form), entries = listFiles(data);
    const total = entries.reduce((sum, { file }) => sum + file.size, 0), reason = refuse(entries, total);
    if (!reason && !dropped.length && total <= limits.part) return;
    event.preventDefault();
    if (reason) { event.stopPropagation(); note.textContent = reason; return; }
    data.delete("photos");
    data.delete("folder");
    try {
      await send(split(entries), data, entries.length);
    } catch (error) { note.textContent = `Not sent (${error.message}): load this page, and try again.`; }
  });
}
