// The peer "sharp": a small image server as its documentation would have it. One request is one task, nothing is cached.
//
//   GET /?file=NAME&w=400&h=300&format=jpeg&q=80&effort=4   (h means: cover w × h; effort is left to sharp's default without it)
//
// PEER_NODE_MODULES is where sharp is installed, PEER_FILES the folder of originals, PEER_PORT the port, PEER_THREADS the
// threads that render.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';

const sharp = createRequire(join(process.env.PEER_NODE_MODULES, 'package.json'))('sharp');
const files = process.env.PEER_FILES;

sharp.cache(false);
sharp.concurrency(1);

const types = { jpeg: 'image/jpeg', png: 'image/png', webp: 'image/webp', avif: 'image/avif' };

createServer(async (request, response) => {
    const query = new URL(request.url, 'http://localhost').searchParams;
    const format = query.get('format') ?? 'jpeg';
    try {
        const width = Number(query.get('w')) || undefined;
        const height = Number(query.get('h')) || undefined;
        const options = {};
        if (query.has('q')) options.quality = Number(query.get('q'));
        if (query.has('effort')) options.effort = Number(query.get('effort'));
        const body = await sharp(join(files, basename(query.get('file') ?? '')))
            .autoOrient()
            .resize({ width, height, fit: 'cover', withoutEnlargement: true })
            .toFormat(format, options)
            .toBuffer();
        response.writeHead(200, { 'Content-Type': types[format], 'Content-Length': body.length });
        response.end(body);
    } catch (error) {
        response.writeHead(500, { 'Content-Type': 'text/plain' });
        response.end(String(error));
    }
}).listen(Number(process.env.PEER_PORT), '127.0.0.1');
