// Makes the originals of the benchmark from the samples that ship with the project, and decodes pictures to raw pixels.
//
//   node photos.mjs make SAMPLES INTO        p2_*.jpg as they are, p12_*.jpg and p24_*.jpg enlarged with noise, a_*.png
//   node photos.mjs hard SAMPLES INTO        x_*.jpg, 2400×1800: what is hard to reduce well
//   node photos.mjs sheet TO < jobs          each line `ROW<tab>COLUMN<tab>FILE`: a contact sheet, cut from the middle of each file
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

// What is hard to reduce well, drawn: each would lose its character in a careless resize or encoder.
const SIDE = [2400, 1800];
const lines = (count, line) => Array.from({ length: count }, (_, at) => line(at)).join('');
const HARD = {
    text: `<rect width="2400" height="1800" fill="#fff"/><g font-family="serif" font-size="34" fill="#222">${lines(50, (at) =>
        `<text x="20" y="${40 + at * 36}">${'The quick brown fox jumps over the lazy dog 0123456789 '.repeat(4)}</text>`)}</g>`,
    'thin-lines': `<rect width="2400" height="1800" fill="#101010"/>${lines(120, (at) =>
        `<path d="M1200 900 L${1200 + 1500 * Math.cos(at * 0.0524)} ${900 + 1500 * Math.sin(at * 0.0524)}" stroke="#fff" stroke-width="3"/>`)}`,
    'red-on-blue': `<rect width="2400" height="1800" fill="#0020c0"/>${lines(400, (at) =>
        `<circle cx="${(at * 397) % 2400}" cy="${(at * 211) % 1800}" r="${8 + (at % 5) * 9}" fill="#e01010"/>`)}`,
    gradients: `<defs><linearGradient id="a"><stop offset="0" stop-color="#103050"/><stop offset="1" stop-color="#f0c8a0"/></linearGradient>
        <linearGradient id="b" x2="0" y2="1"><stop offset="0" stop-color="#000"/><stop offset="1" stop-color="#202020"/></linearGradient></defs>
        <rect width="2400" height="900" fill="url(#a)"/><rect y="900" width="2400" height="900" fill="url(#b)"/>`,
    'night-sky': `<rect width="2400" height="1800" fill="#04060e"/>${lines(3000, (at) =>
        `<circle cx="${(at * 7919) % 2400}" cy="${(at * 104729) % 1800}" r="${1 + (at % 7) / 3}" fill="#fff" opacity="${0.3 + (at % 8) / 11}"/>`)}`,
    skin: `<defs><radialGradient id="s"><stop offset="0" stop-color="#8a5a3c"/><stop offset="0.7" stop-color="#4a2a1a"/><stop offset="1" stop-color="#1c0e08"/></radialGradient></defs>
        <rect width="2400" height="1800" fill="url(#s)"/>`,
    noise: `<defs><linearGradient id="n"><stop offset="0" stop-color="#405060"/><stop offset="1" stop-color="#c0b090"/></linearGradient></defs>
        <rect width="2400" height="1800" fill="url(#n)"/>`,
};
// How far samples are moved at most, in steps of 8 bits.
const NOISE = { 'night-sky': 5, skin: 5, noise: 60 };
const PHOTOGRAPHED = { hair: 'dogs', foliage: 'dandelion' };

async function hard(samples, into) {
    const [width, height] = SIDE;
    for (const [name, body] of Object.entries(HARD)) {
        const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${body}</svg>`;
        const { data } = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
        const uniform = random(name.length);
        const most = NOISE[name] ?? 0;
        if (most > 0) for (let at = 0; at < data.length; at += 1) {
            data[at] = Math.max(0, Math.min(255, Math.round(data[at] + 2 * most * (uniform() - 0.5))));
        }
        await sharp(data, { raw: { width, height, channels: 3 } })
            .jpeg({ quality: 92, chromaSubsampling: '4:2:0' })
            .toFile(join(into, `x_${name}.jpg`));
    }
    for (const [name, sample] of Object.entries(PHOTOGRAPHED)) {
        await sharp(join(samples, `${sample}.jpg`))
            .resize(width, height, { fit: 'cover', kernel: 'lanczos3' })
            .jpeg({ quality: 92 })
            .toFile(join(into, `x_${name}.jpg`));
    }
}

const CELL = [300, 200];
const HEAD = 24;

async function sheet(to) {
    const cells = [];
    for await (const line of createInterface({ input: process.stdin })) cells.push(line.split('\t'));
    const rows = [...new Set(cells.map(([row]) => row))];
    const columns = [...new Set(cells.map(([, column]) => column))];
    const [width, height] = CELL;
    const label = (text) => Buffer.from(
        `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${HEAD}"><text x="4" y="17" font-family="sans-serif" font-size="14">${text}</text></svg>`);
    const parts = [];
    for (const [row, column, file] of cells) {
        const { width: w, height: h } = await sharp(file).metadata();
        // The middle at twice its size, each pixel a square, so that an eye sees what was answered.
        const [w2, h2] = [Math.min(w, width / 2), Math.min(h, height / 2)];
        const cut = await sharp(file)
            .extract({ left: (w - w2) >> 1, top: (h - h2) >> 1, width: w2, height: h2 })
            .resize(w2 * 2, h2 * 2, { kernel: 'nearest' })
            .png()
            .toBuffer();
        const [left, top] = [columns.indexOf(column) * width, rows.indexOf(row) * (height + HEAD)];
        parts.push({ input: label(`${row} · ${column}`), left, top }, { input: cut, left, top: top + HEAD });
    }
    await sharp({ create: { width: columns.length * width, height: rows.length * (height + HEAD), channels: 3, background: '#fff' } })
        .composite(parts)
        .webp({ quality: 90 })
        .toFile(to);
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
else if (command === 'hard') await hard(...args);
else if (command === 'sheet') await sheet(...args);
else if (command === 'decode') await decode();
else throw new Error(`there is no command ${command}`);
