// Cuts a number of originals out of a folder of photos (any depth), each another content: the k-th photo of the folder gives
// every n-th original, another window of it each time, of 35 to 100 % of each side, up to 24 megapixels.
//
//   node originals.mjs NODE_MODULES PHOTOS INTO COUNT
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";

const [modules, photos, into, count] = process.argv.slice(2);
const sharp = createRequire(join(modules, "index.js"))("sharp");
sharp.cache(false);
const PIXELS_MIN = 1e6;
const PIXELS_MAX = 24e6;

// The same numbers in each run.
let state = 1;
function uniform() {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return (state >>> 0) / 4294967296;
}

const seen = new Set();
const found = [];
for (const entry of readdirSync(photos, { recursive: true }).sort()) {
  if (![".jpg", ".jpeg"].includes(extname(entry).toLowerCase())) continue;
  const path = join(photos, entry);
  const bytes = readFileSync(path);
  const digest = createHash("sha256").update(bytes).digest("hex");
  const { width, height } = await sharp(bytes).metadata();
  if (seen.has(digest) || width * height < PIXELS_MIN) continue;
  seen.add(digest);
  found.push(path);
}
if (found.length === 0) throw new Error(`${photos} holds no photos of a megapixel or more`);
for (let at = 0; at < Number(count); at += 1) {
  const path = found[at % found.length];
  const upright = await sharp(path).rotate().removeAlpha().toBuffer({ resolveWithObject: true });
  const part = 0.35 + 0.65 * uniform();
  let [width, height] = [upright.info.width, upright.info.height].map((side) => Math.max(1, Math.round(side * part)));
  // A window that is too small to be an original is enlarged no further than to a megapixel; one that is too large is cut.
  const pixels = width * height;
  if (pixels < PIXELS_MIN) {
    const grow = Math.min(1 / part, Math.sqrt(PIXELS_MIN / pixels));
    [width, height] = [Math.floor(width * grow), Math.floor(height * grow)];
  } else if (pixels > PIXELS_MAX) {
    const shrink = Math.sqrt(PIXELS_MAX / pixels);
    [width, height] = [Math.floor(width * shrink), Math.floor(height * shrink)];
  }
  const left = Math.floor(uniform() * (upright.info.width - width));
  const top = Math.floor(uniform() * (upright.info.height - height));
  const cut = await sharp(upright.data)
    .extract({ left, top, width, height })
    .jpeg({ quality: 92, chromaSubsampling: at % 4 === 3 ? "4:4:4" : "4:2:0", progressive: at % 10 === 9 })
    .toBuffer();
  writeFileSync(join(into, `${String(at).padStart(4, "0")}.jpg`), cut);
}
console.log(JSON.stringify({ photos: found.length, originals: Number(count) }));
