// Sends camera frames to the server and draws what it answers over the very frame that was analysed.
const MOST_WAITING = 2;        // frames on their way; one answered frame acknowledges all before it
const SECONDS = 10;            // of the plot
const find = (name) => element.querySelector(".live-" + name);
const canvas = find("canvas"), paper = canvas.getContext("2d"), plot = find("plot"), plotPaper = plot.getContext("2d");
const video = document.createElement("video");
video.muted = video.playsInline = true;
const colours = props.colours, grey = colours[props.uncertain], jet = props.jet;
const kept = new Map();        // frames that were sent, by number
const drawn = [];              // times at which answers were drawn
const history = [];            // {at, probabilities} of the largest face
let socket = null, stream = null, next = 0, encoding = false, session = 0;
window.liveDemo = { answers: 0, last: null, canvas, video };  // what tests and benchmarks look at

const say = (text) => { find("message").textContent = text; };
const switches = () => JSON.stringify({ smooth: find("smooth").checked, cam: find("cam").checked, regions: find("regions").checked });

const REASONS = {
  NotAllowedError: "The camera was not allowed. Allow it for this page in the address bar of the browser, then press Start again.",
  NotFoundError: "No camera was found. Connect one and press Start again, or try the tabs Video and Photo.",
  NotReadableError: "The camera is in use by another program. Close that and press Start again.",
};

async function start() {
  if (!navigator.mediaDevices) {
    say("Browsers give the camera to pages over https or from localhost only. Open this page in one of these ways.");
    return;
  }
  const mine = ++session;
  find("start").disabled = true;
  say("Waiting for the camera …");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, frameRate: 30 } });
  } catch (error) {
    say(REASONS[error.name] || "The camera cannot be used: " + error.message);
    find("start").disabled = false;
    return;
  }
  if (mine !== session) { stream.getTracks().forEach((track) => track.stop()); return; }
  video.srcObject = stream;
  await video.play();
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const address = new URL("live?token=" + encodeURIComponent(props.token), document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address);
  socket.onopen = () => { say(""); find("stop").disabled = false; socket.send(switches()); pump(mine); };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = () => { if (mine === session) stop(find("message").textContent || "The connection to the server was lost. Press Start to try again."); };
}

function stop(reason) {
  session++;
  if (socket) socket.close();
  if (stream) stream.getTracks().forEach((track) => track.stop());
  socket = stream = null;
  kept.clear();
  find("start").disabled = false;
  find("stop").disabled = true;
  say(reason);
}

function pump(mine) {
  if (mine !== session) return;
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => pump(mine));
  else setTimeout(() => pump(mine), 33);
  if (!encoding && kept.size < MOST_WAITING && socket.readyState === WebSocket.OPEN) send(mine);
}

async function send(mine) {
  encoding = true;
  try {
    const frame = new OffscreenCanvas(canvas.width, canvas.height);
    frame.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const number = next++;
    kept.set(number, frame);
    const picture = await frame.convertToBlob({ type: "image/jpeg", quality: 0.8 });
    if (mine !== session) return;
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, number, true);
    socket.send(new Blob([head, picture]));
  } finally {
    encoding = false;
  }
}

function take(answer) {
  if (answer.error) { stop(answer.error); return; }
  const frame = kept.get(answer.number);
  for (const number of [...kept.keys()]) if (number <= answer.number) kept.delete(number);
  if (!frame) return;
  paper.drawImage(frame, 0, 0);
  for (const face of answer.faces) if (face.heat) drawHeat(face.heat);
  for (const face of answer.faces) drawFace(face);
  const now = performance.now() / 1000;
  drawn.push(now);
  while (drawn[0] < now - 2) drawn.shift();
  const speed = drawn.length > 1 ? (drawn.length - 1) / (now - drawn[0]) : 0;
  const missing = find("cam").checked ? answer.faces.filter((face) => judged(face) && !face.heat).length : 0;
  find("figures").textContent = `${answer.faces.length} face${answer.faces.length === 1 ? "" : "s"} · ${speed.toFixed(0)} analysed a second · ${(1000 * answer.seconds).toFixed(0)} ms on the server` + (missing ? ` · no time for ${missing} map${missing === 1 ? "" : "s"}` : "");
  drawPlot(answer.faces, now);
  window.liveDemo.answers++;
  window.liveDemo.last = answer;
}

function judged(face) { return face.label && face.region !== "none"; }

function drawFace(face) {
  const [x1, y1, x2, y2] = face.box, colour = colours[face.label] || grey;
  paper.lineWidth = 3;
  paper.strokeStyle = colour;
  paper.setLineDash(face.label && !face.stable ? [8, 6] : []);
  paper.strokeRect(x1, y1, x2 - x1, y2 - y1);
  if (face.used) {
    paper.lineWidth = 1.5;
    paper.setLineDash([3, 3]);
    turned(face.used, face.roll, (x, y, width, height) => paper.strokeRect(x, y, width, height));
  }
  paper.setLineDash([]);
  if (!face.label) return;
  let text = face.label;
  if (face.label in face.probabilities) text += " " + (face.confidence > 0.99 ? ">99" : Math.round(100 * face.confidence)) + "%";
  if (judged(face) && (find("regions").checked || face.region !== "face")) text += " by " + face.region;
  paper.font = "15px system-ui, sans-serif";
  const width = paper.measureText(text).width + 12, top = y1 > 26 ? y1 - 26 : y2 + 4;
  paper.fillStyle = "rgba(20, 24, 30, .8)";
  paper.fillRect(x1, top, width, 22);
  paper.fillStyle = colour;
  paper.fillText(text, x1 + 6, top + 16);
}

function turned([x1, y1, x2, y2], roll, drawBox) {  // around its middle, as the face is
  paper.save();
  paper.translate((x1 + x2) / 2, (y1 + y2) / 2);
  paper.rotate(roll);
  drawBox((x1 - x2) / 2, (y1 - y2) / 2, x2 - x1, y2 - y1);
  paper.restore();
}

function drawHeat(heat) {  // 0.4 map in JET + 0.5 picture
  const height = heat.values.length / heat.width;
  const small = new OffscreenCanvas(heat.width, height), pixels = new ImageData(heat.width, height);
  heat.values.forEach((value, at) => pixels.data.set([...jet[value], 255], 4 * at));
  small.getContext("2d").putImageData(pixels, 0, 0);
  turned(heat.box, heat.roll, (...place) => {
    paper.globalAlpha = 0.5;
    paper.fillStyle = "#000";
    paper.fillRect(...place);
    paper.globalAlpha = 0.4;
    paper.globalCompositeOperation = "lighter";
    paper.imageSmoothingQuality = "high";
    paper.drawImage(small, ...place);
  });
}

function drawPlot(faces, now) {
  const size = (face) => (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]);
  const largest = faces.filter((face) => face.label).sort((a, b) => size(b) - size(a))[0];
  history.push({ at: now, probabilities: largest ? largest.probabilities : null });
  while (history[0].at < now - SECONDS) history.shift();
  plotPaper.clearRect(0, 0, plot.width, plot.height);
  for (let i = 1; i < history.length; i++) {
    if (!history[i].probabilities) continue;
    const place = (at) => Math.round(plot.width * (1 - (now - at) / SECONDS));  // whole pixels leave no seams
    const left = place(history[i - 1].at), right = place(history[i].at);
    let below = 0;
    for (const [label, share] of Object.entries(history[i].probabilities)) {
      const low = Math.round(plot.height * (1 - below)), high = Math.round(plot.height * (1 - below - share));
      plotPaper.fillStyle = colours[label] || grey;
      plotPaper.fillRect(left, high, right - left, low - high);
      below += share;
    }
  }
}

find("legend").innerHTML = Object.keys(colours).map((label) => `<span><i style="background:${colours[label]}"></i>${label}</span>`).join("");
find("start").addEventListener("click", start);
find("stop").addEventListener("click", () => stop("Stopped."));
for (const name of ["smooth", "cam", "regions"])
  find(name).addEventListener("change", () => { if (socket && socket.readyState === WebSocket.OPEN) socket.send(switches()); });
