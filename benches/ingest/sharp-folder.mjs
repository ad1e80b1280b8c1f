// Makes the same outputs of pictures of a folder with sharp: each width in three formats, one process, as a worker would.
// Prints a JSON object: pictures, outputs, CPU milliseconds.
//
//   node sharp-folder.mjs NODE_MODULES FOLDER FILES WIDTHS SETTINGS [KEEP]
//
// FILES are names with commas between; SETTINGS is JSON with sharp's options of jpeg, webp and avif; KEEP is a folder for the outputs.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [modules, folder, names, widths, settings, keep] = process.argv.slice(2);
const sharp = createRequire(join(modules, "index.js"))("sharp");
// Each width is its own, so what libvips keeps of operations would never be found; memory is what it costs.
sharp.cache(false);
const formats = JSON.parse(settings);
const files = names.split(",");
let outputs = 0;
const begun = process.cpuUsage();
for (const file of files) {
  const bytes = readFileSync(join(folder, file));
  for (const width of widths.split(",").map(Number)) {
    // One decode and resize for the three formats of a width.
    const { data, info } = await sharp(bytes)
      .rotate()
      .resize({ width, withoutEnlargement: true })
      .raw()
      .toBuffer({ resolveWithObject: true });
    const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
    for (const [format, options] of Object.entries(formats)) {
      const made = await sharp(data, raw).toFormat(format, options).toBuffer();
      outputs += 1;
      if (keep) writeFileSync(join(keep, `${file}.${width}.${format}`), made);
    }
  }
}
const used = process.cpuUsage(begun);
console.log(JSON.stringify({ pictures: files.length, outputs, cpu_ms: (used.user + used.system) / 1000 }));
