// Run @vladmandic/face-api on pictures: node run_face_api.js FOLDER MODULES; prints seconds, CPU seconds and faces as JSON.
// Its modules: npm i @vladmandic/face-api @tensorflow/tfjs @tensorflow/tfjs-backend-wasm. The weights are inside.
const fs = require("fs");
const path = require("path");
const [folder, modules] = process.argv.slice(2);
const need = (name) => require(require.resolve(name, { paths: [modules] }));

async function main() {
  const tf = need("@tensorflow/tfjs");
  const wasm = need("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(path.join(modules, "node_modules/@tensorflow/tfjs-backend-wasm/dist/"));
  await tf.setBackend("wasm");
  await tf.ready();
  const root = path.join(modules, "node_modules/@vladmandic/face-api");
  const faceapi = require(path.join(root, "dist/face-api.node-wasm.js"));
  await faceapi.nets.tinyFaceDetector.loadFromDisk(path.join(root, "model"));
  await faceapi.nets.faceExpressionNet.loadFromDisk(path.join(root, "model"));
  const { width, height } = JSON.parse(fs.readFileSync(path.join(folder, "size.json")));
  const names = fs.readdirSync(folder).filter((name) => name.endsWith(".rgb")).sort();
  const pictures = names.map((name) => tf.tensor3d(fs.readFileSync(path.join(folder, name)), [height, width, 3], "int32"));
  const options = new faceapi.TinyFaceDetectorOptions({ inputSize: 416, scoreThreshold: 0.4 });
  const look = (picture) => faceapi.detectAllFaces(picture, options).withFaceExpressions();
  for (const picture of pictures.slice(0, 3)) await look(picture);
  const wall = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  let faces = 0;
  for (const picture of pictures) faces += (await look(picture)).length;
  const used = process.cpuUsage(cpu);
  const seconds = Number(process.hrtime.bigint() - wall) / 1e9;
  console.log(JSON.stringify({ seconds, cpu: (used.user + used.system) / 1e6, faces }));
}

main();
