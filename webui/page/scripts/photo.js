// The photo that is searched from: by file, drop, paste, camera, or (told by the server) a picture of the catalogue.
// It runs as a function of (element, trigger, props, server, upload, watch); "ask" is the one event it sends.
const MOST_BYTES = 2 * 1024 * 1024; // larger files are scaled down here, to spare the way
const LONG_SIDE = 1600; // pixels, when scaled down

const find = (selector) => element.querySelector(selector);
const frame = find(".frame");
const image = find(".view img");
const video = find("video");
const hint = find(".hint");
const pick = find(".pick");
const shoot = find(".shoot");
const mini = find(".mini");
const crop = cropBox(find(".view"), find(".box"), (box) => {
  cutMini(box);
  trigger("ask", { do: "box", box });
});
let stream = null;

function say(text) {
  hint.textContent = text;
}

function show(url) {
  stopCamera();
  crop.reset();
  say("");
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  image.src = url;
  mini.firstElementChild.src = url;
  cutMini(null);
  frame.dataset.state = "photo";
}

// On a narrow screen the photo scrolls away; a small one stays in view then, cut as the box is.
function cutMini(box) {
  const [left, top, right, bottom] = (box ?? [0, 0, 1, 1]).map((edge) => 100 * edge);
  const inset = [top, 100 - right, 100 - bottom, left].map((edge) => edge + "%").join(" ");
  mini.firstElementChild.style.objectViewBox = `inset(${inset})`;
}
new IntersectionObserver(([seen]) => {
  mini.hidden = seen.isIntersecting || frame.dataset.state !== "photo";
}).observe(frame);
mini.addEventListener("click", () => window.scrollTo({ top: 0, behavior: "smooth" }));

image.addEventListener("load", () => {
  const wide = image.naturalWidth >= image.naturalHeight;
  const ratio = image.naturalWidth / image.naturalHeight;
  find(".view").style.cssText = "aspect-ratio:" + ratio + (wide ? ";width:100%" : ";height:100%");
});
image.addEventListener("error", () => {
  frame.dataset.state = "empty";
});

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

function jpeg(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

async function scaledDown(file) {
  if (file.size <= MOST_BYTES) return file;
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return file; // the server says what is wrong with it
  const scale = Math.min(1, LONG_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return jpeg(canvas);
}

async function use(file) {
  if (!file) return;
  show(URL.createObjectURL(file));
  trigger("ask", { do: "photo", photo: await base64(await scaledDown(file)) });
}

function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? transfer?.files?.[0];
}

async function paste() {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((name) => name.startsWith("image/"));
      if (type) return use(await item.getType(type));
    }
    say("There is no picture in the clipboard; copy one, then paste.");
  } catch {
    say("Press Ctrl+V (⌘V on a Mac) to paste a picture here.");
  }
}

async function startCamera() {
  if (!navigator.mediaDevices?.getUserMedia) return shoot.click(); // pages without https may still ask the phone
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return say("The camera cannot be used; allow it in the browser, or upload a photo.");
  }
  say("");
  element.dataset.camera = "on";
  frame.dataset.before = frame.dataset.state;
  frame.dataset.state = "camera";
  video.srcObject = stream;
  await video.play();
}

function stopCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  delete element.dataset.camera;
  frame.dataset.state = frame.dataset.before;
}

async function takePhoto() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  await use(await jpeg(canvas));
}

function toggleExamples(button) {
  const shown = document.querySelector("#examples").classList.toggle("shown");
  button.setAttribute("aria-expanded", String(shown));
}

const SOURCES = {
  upload: () => pick.click(),
  paste,
  camera: startCamera,
  take: takePhoto,
  stop: stopCamera,
  examples: toggleExamples,
};
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-source]");
  if (button) SOURCES[button.dataset.source](button);
});
for (const input of [pick, shoot]) {
  input.addEventListener("change", () => {
    use(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
}
frame.addEventListener("dragover", (event) => {
  event.preventDefault();
  frame.classList.add("over");
});
frame.addEventListener("dragleave", () => frame.classList.remove("over"));
frame.addEventListener("drop", (event) => {
  event.preventDefault();
  frame.classList.remove("over");
  use(pictureIn(event.dataTransfer));
});
document.addEventListener("paste", (event) => {
  const picture = pictureIn(event.clipboardData);
  if (picture) use(picture);
});

// The server names a picture of the catalogue when the search starts from one; own photos are shown at once, above.
watch("value", () => {
  if (props.value?.src) show(props.value.src);
});
