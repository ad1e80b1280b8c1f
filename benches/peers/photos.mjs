// Makes the originals of the benchmark from the samples that ship with the project, and decodes pictures to raw pixels.
//
//   node photos.mjs make SAMPLES INTO        p2_*.jpg as they are, p12_*.jpg and p24_*.jpg enlarged with noise, a_*.png
//   node photos.mjs decode < jobs > answers  each line `FROM<tab>TO` becomes TO as RGBA, and is answered `WIDTH<tab>HEIGHT`

import { copyFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const sharp = createRequire(join(process.env.PEER_NODE_MODULES, 'package.json'))('sharp');
sharp.cache(false);

const PHOTOS = ['mountains', 'brushes'];
const ALPHA = 'shapes';
// A camera's noise, so that an enlarged photo has a camera's bits a pixel. In steps of 8-bit luma.
const NOISE_SIGMA = 2.5;

// The same numbers in each run.
function random(seed) {
    let state = seed;
    return () => {
        state = (state + 0x6d2b79f5) | 0;
        let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
}

async function enlarge(from, to, megapixels) {
    const { width, height } = await sharp(from).metadata();
    const scale = Math.sqrt((megapixels * 1e6) / (width * height));
    const { data, info } = await sharp(from)
        .resize(Math.round(width * scale), Math.round(height * scale), { fit: 'fill', kernel: 'lanczos3' })
        .removeAlpha()
        .raw()
        .toBuffer({ resolveWithObject: true });
    const uniform = random(megapixels);
    for (let at = 0; at < data.length; at += 3) {
        const noise = NOISE_SIGMA * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
        for (let channel = 0; channel < 3; channel += 1) {
            data[at + channel] = Math.max(0, Math.min(255, Math.round(data[at + channel] + noise)));
        }
    }
    await sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } })
        .jpeg({ quality: 90, chromaSubsampling: '4:2:0' })
        .toFile(to);
}

async function make(samples, into) {
    for (const photo of PHOTOS) {
        const from = join(samples, `${photo}.jpg`);
        await copyFile(from, join(into, `p2_${photo}.jpg`));
        await enlarge(from, join(into, `p12_${photo}.jpg`), 12);
    }
    await enlarge(join(samples, `${PHOTOS[0]}.jpg`), join(into, `p24_${PHOTOS[0]}.jpg`), 24);
    await copyFile(join(samples, `${ALPHA}.png`), join(into, `a_${ALPHA}.png`));
    await writeFile(join(into, 'complete'), '');
}

async function decode() {
    for await (const line of createInterface({ input: process.stdin })) {
        const [from, to] = line.split('\t');
        const image = sharp(from).autoOrient().toColourspace('srgb').ensureAlpha().raw({ depth: 'uchar' });
        const { data, info } = await image.toBuffer({ resolveWithObject: true });
        await writeFile(to, data);
        process.stdout.write(`${info.width}\t${info.height}\n`);
    }
}

const [command, ...args] = process.argv.slice(2);
if (command === 'make') await make(...args);
else if (command === 'decode') await decode();
else throw new Error(`there is no command ${command}`);
