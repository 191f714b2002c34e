"use strict";
const $ = (id) => document.getElementById(id);
const names = ["model", "class", "seed", "n", "steps", "guidance_scale", "guidance", "strength", "sampler", "cache", "decoder"];
const isRecipe = () => $("recipe").value.trim() !== "";
const chosenModel = () => isRecipe() ? $("recipe").value.trim() : $("domain").value;
let models = [], distilled = [], running = null, offset = 0;
// What the recipe's own vectors hold: steps of their own, guidance in the values.
let held = { steps: null, folded: null };

// The token stays in this tab; a link never carries it.
function headers() {
  const token = sessionStorage.getItem("token");
  return token ? { Authorization: "Bearer " + token } : {};
}

async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...headers(), ...(options.headers || {}) } });
  if (response.ok) return response;
  if (response.status === 401) {
    $("form").hidden = true;
    $("door").hidden = false;
    if (sessionStorage.getItem("token")) throw new Error("This is not the server's token.");
    throw Object.assign(new Error("It is in the server's token file."), { isHint: true });
  }
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message || "The server answered " + response.status + ".");
}

function say(text, isBad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", isBad);
}

function complain(error) { say(error.message, !error.isHint); }

function fill(select, values, chosen, label = (v) => v) {
  select.replaceChildren(...values.map((value) => new Option(label(value), value, false, value === chosen)));
}

function showClasses(chosen) {
  const model = models.find((m) => m.id === $("domain").value);
  fill($("known"), model ? model.classes : [], chosen, (name) => name.replaceAll("_", " "));
}

// The vector that the speed adds, where it is one for each step.
const turbo = () => distilled.find((v) => v.role === "steps" && v.name === $("speed").value);
const isDistilled = () => $("speed").value === "distilled";

// In every stage of a schedule.
function orderedModel() {
  const model = chosenModel(), added = turbo();
  return added ? model.replace(/>[^>]*>/g, "+" + added.name + "$&") + "+" + added.name : model;
}

// Steps, the guidance scale and pairs of rows, where vectors of the recipe do not have them.
function leftToChoose() {
  const steps = !held.steps && !turbo(), scale = steps && held.folded === null;
  return { steps, scale, pair: scale && !isDistilled() };
}

function showDemands() {
  const left = leftToChoose();
  for (const label of document.querySelectorAll("[data-of]")) label.hidden = !left[label.dataset.of];
  $("speed_field").hidden = distilled.length === 0 || held.steps !== null || held.folded !== null;
}

function showSpeeds(steps, chosen) {
  const few = distilled.filter((v) => v.role === "steps").toSorted((a, b) => b.steps - a.steps);
  const words = { "": steps + " steps, two rows each: the most careful", distilled: steps + " steps, one row each: about twice as fast" };
  for (const v of few) words[v.name] = v.steps + (v.steps === 1 ? " step" : " steps") + ", one row each: " + v.name;
  const values = ["", ...(distilled.some((v) => v.role === "guidance") ? ["distilled"] : []), ...few.map((v) => v.name)];
  fill($("speed"), values, chosen, (value) => words[value]);
}

// The server reads the recipe: its classes become the suggestions, its complaint the message.
async function showRecipe(chosen) {
  $("blend_field").hidden = !isRecipe();
  $("known").parentNode.hidden = isRecipe();
  held = { steps: null, folded: null };
  if (!isRecipe()) return showDemands();
  try {
    const reply = await (await call("/v1/recipes/" + encodeURIComponent(chosenModel()))).json();
    $("classes").replaceChildren(...reply.classes.map((name) => new Option(name)));
    if (chosen || !$("blend").value) $("blend").value = chosen || reply.classes[0] || "null";
    held = { steps: reply.steps ?? null, folded: reply.folded_guidance_scale ?? null };
    if (held.steps !== null || held.folded !== null) $("speed").value = "";
    showDemands();
    say("");
  } catch (error) {
    complain(error);
  }
}

// The list is live: an adapter added meanwhile is there when the list is opened.
async function refresh(chosen = {}) {
  const list = (await (await call("/v1/models")).json()).data.filter((m) => m.classes.length > 0 && m.role === "domain");
  const isOne = !chosen.model || /^[a-z0-9._-]+(@[0-9a-f]{4,})?$/.test(chosen.model);
  $("recipe").value = isOne ? (chosen.model ? "" : $("recipe").value) : chosen.model;
  const wanted = (isOne && chosen.model) || $("domain").value;
  const [name, digest] = (wanted || "").split("@");
  models = list.filter((m) => m.id !== "base").concat(list.filter((m) => m.id === "base"));
  // A pinned reference shows as itself, with the classes of the name if they still are the same adapter's.
  if (digest && !models.some((m) => m.id === name && m.digest === digest)) {
    const pinned = await call("/v1/adapters/" + encodeURIComponent(wanted)).then((r) => r.json()).catch(() => null);
    if (pinned) models.unshift({ id: wanted, digest: pinned.digest, classes: pinned.classes });
  }
  const ids = models.map((m) => m.id);
  fill($("domain"), ids, ids.includes(wanted) ? wanted : ids.includes(name) ? name : ids[0], (id) => id.replace(/@(.{8}).*/, " @ $1"));
  showClasses(chosen.class || $("known").value);
  await showRecipe(chosen.class);
}

async function begin() {
  const link = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const offer = await (await call("/v1/capabilities")).json();
  $("door").hidden = true;
  $("form").hidden = false;
  say("");
  $("about").textContent = "base " + offer.base + " " + offer.base_digest.slice(0, 12) + ", " + offer.size.replace("x", " × ") + " pixels";
  $("n").max = offer.limits.images;
  $("steps").max = offer.limits.steps;
  // A fitted solver belongs to some adapters alone, with steps and guidance of its own.
  fill($("sampler"), offer.samplers.filter((name) => name !== "fitted"), offer.defaults.sampler);
  fill($("guidance"), offer.guidance.filter((name) => name !== "distilled"), "cfg");
  distilled = offer.distilled;
  // The fewest steps that there are a vector for, but where a link says how its images were made.
  const fastest = distilled.filter((v) => v.role === "steps").toSorted((a, b) => a.steps - b.steps).find((v) => v.steps >= 4);
  showSpeeds(offer.defaults.steps, link.model ? (link.guidance === "distilled" ? "distilled" : "") : fastest?.name ?? "");
  fill($("cache"), offer.caches, "exact");
  // The first leaves it to the server: the whole autoencoder for pictures, the tiny one for previews.
  fill($("decoder"), ["", ...offer.decoders], "", (name) => name || "usual");
  $("decoder_field").hidden = offer.decoders.length < 2;
  $("steps").value = offer.defaults.steps;
  $("guidance_scale").value = offer.defaults.guidance_scale;
  await refresh(link);
  showDemands();
  for (const name of names.slice(2)) if (link[name]) $(name).value = link[name];
  const ends = (link.guidance_interval || "0,1").split(",");
  [$("noise_low").value, $("noise_high").value] = ends;
  offset = /^[0-9]{1,15}$/.test(link.index || "") ? Number(link.index) : 0;
  if (link.model && link.seed) sample();
}

function figure(index) {
  const element = document.createElement("figure");
  const frame = document.createElement("div");
  frame.className = "frame";
  const caption = document.createElement("figcaption"), label = document.createElement("span");
  label.textContent = "image " + index;
  caption.append(label);
  element.append(frame, caption);
  $("pictures").append(element);
  return { element, frame, caption };
}

function show(target, b64, alt) {
  const image = target.frame.firstChild || new Image();
  image.src = "data:image/png;base64," + b64;
  image.alt = alt;
  if (!image.parentNode) target.frame.append(image);
}

function finish(target, event, order) {
  show(target, event.b64_json, event.class + ", seed " + event.seed + ", image " + event.index);
  target.element.classList.add("done");
  const alone = document.createElement("a"), link = document.createElement("a");
  alone.textContent = "Link";
  alone.title = "Makes this image again";
  alone.dataset.index = event.index;
  link.textContent = "PNG";
  link.download = [order.model.replace(/@[0-9a-f]{4,}/g, "").replace(/[^a-z0-9._+-]/g, "_").slice(0, 60), event.class.replaceAll("/", "_"), event.seed, event.index].join("-") + ".png";
  link.href = "data:image/png;base64," + event.b64_json;
  link.title = "sha256 " + event.sha256;
  target.caption.append(alone, link);
}

function account(x, order) {
  const time = (ms) => ms >= 1000 ? (ms / 1000).toFixed(2) + " s" : ms.toFixed(1) + " ms";
  const rows = [
    [x.adapters.length > 1 ? "adapters" : "adapter", x.adapters.map(share).join(", ") || "base"], ["digest", x.effective_digest, "mono"], ["base", x.base_digest, "mono"],
    ["seed", String(order.seed)], ...(x.compose_ms ? [["compose", time(x.compose_ms)]] : []), ["queue", time(x.queue_ms)], ["swap", x.swap_us ? x.swap_us.toFixed(1) + " µs" : "none, it was in place"], ["sample", time(x.sample_ms)],
    ["decode", time(x.decode_ms)], ["steps", x.steps + ", up to " + x.batch_rows + " rows a step"],
  ];
  $("times").replaceChildren(...rows.flatMap(([name, value, kind]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    if (kind) dd.className = kind;
    return [dt, dd];
  }));
  const link = { ...order, model: x.recipe, index: order.index_offset };
  for (const name of Object.keys(link)) if (link[name] === undefined || ["stream", "partial_images", "index_offset"].includes(name)) delete link[name];
  // The recipe holds the vector already, and with it the scale.
  if (link.guidance === "distilled") for (const name of ["guidance", "guidance_scale"]) delete link[name];
  $("again").href = "#" + new URLSearchParams(link);
  for (const alone of document.querySelectorAll("a[data-index]")) {
    alone.href = "#" + new URLSearchParams({ ...link, n: 1, index: alone.dataset.index });
  }
  $("facts").hidden = false;
}

function share(a) {
  const where = (a.blocks ? " in blocks " + a.blocks.join("-") : "") + (a.from ? " from " + a.from + " of the steps" : "");
  return (a.weight === 1 ? "" : a.weight + " × ") + a.name + where;
}

// Server-sent events over fetch: EventSource can neither post nor carry a token.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const data = lines.find((line) => line.startsWith("data: "));
      if (data) yield { name: lines[0].replace("event: ", ""), data: JSON.parse(data.slice(6)) };
    }
  }
}

async function sample() {
  if (running || !$("form").reportValidity()) return;
  running = new AbortController();
  const seed = $("seed").value || String(crypto.getRandomValues(new Uint32Array(1))[0]);
  const left = leftToChoose(), number = (id) => Number($(id).value);
  const order = {
    model: orderedModel(), class: isRecipe() ? $("blend").value : $("known").value, n: number("n"), seed: seed, index_offset: offset,
    strength: number("strength"), decoder: $("decoder").value || undefined, stream: true, partial_images: 3,
    steps: left.steps ? number("steps") : undefined, sampler: left.steps ? $("sampler").value : undefined, cache: left.steps ? $("cache").value : undefined,
    guidance: left.scale ? (isDistilled() ? "distilled" : $("guidance").value) : undefined,
    guidance_scale: left.scale ? number("guidance_scale") : undefined, guidance_interval: left.pair ? [number("noise_low"), number("noise_high")] : undefined,
  };
  $("pictures").replaceChildren();
  $("facts").hidden = true;
  $("go").disabled = true;
  $("stop").hidden = $("progress").hidden = false;
  $("progress").value = 0;
  say("Waiting");
  const targets = Array.from({ length: order.n }, (_, k) => figure(offset + k));
  $("pictures").scrollIntoView({ block: "nearest", behavior: "smooth" });
  try {
    // The seed goes as written: a number of 64 bits does not fit JavaScript's.
    const body = JSON.stringify(order).replace('"seed":"' + seed + '"', '"seed":' + seed.replace(/^0+(?=.)/, ""));
    const response = await call("/v1/images/generations", { method: "POST", body, signal: running.signal });
    let isWhole = false;
    for await (const { name, data } of events(response)) {
      if (name === "error") throw new Error(data.error.message);
      if (name === "image_generation.queued" && data.queue_position > 0) say("Number " + data.queue_position + " in the queue");
      if (name === "image_generation.progress") {
        $("progress").value = data.step / data.steps;
        say("Step " + data.step + " of " + data.steps);
      }
      if (name === "image_generation.partial_image") show(targets[data.index - offset], data.b64_json, "unfinished image");
      if (name === "image_generation.completed") finish(targets[data.index - offset], data, order);
      if (name === "image_generation.summary") {
        account(data.x_difffit, order);
        say("");
        isWhole = true;
      }
    }
    if (!isWhole) throw new Error("The connection was lost. Sample again with seed " + seed + ".");
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
    for (const target of targets) if (!target.element.classList.contains("done")) target.element.remove();
  }
  running = null;
  offset = 0;
  $("go").disabled = false;
  $("stop").hidden = $("progress").hidden = true;
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); sample(); });
$("stop").addEventListener("click", () => running?.abort());
$("dice").addEventListener("click", () => { $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0]; });
$("domain").addEventListener("change", () => showClasses());
$("recipe").addEventListener("change", () => showRecipe());
$("speed").addEventListener("change", showDemands);
$("domain").addEventListener("pointerdown", () => refresh().catch(() => {}));
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("again").href).then(() => say("Copied."), () => say($("again").href));
});
window.addEventListener("hashchange", () => begin().catch(complain));
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  begin().catch(complain);
});
begin().catch(complain);
