#!/usr/bin/env python3
"""Makes the pictures that the golden tests begin with: `pip install pillow`, then run it here.

`photo.*` is one part of samples/mountains.jpg (see samples/CREDITS.md) in every format that is read; `emblem.*` is drawn here.
"""
from PIL import Image, ImageDraw

SIZE = (120, 90)

photo = Image.open("../../samples/mountains.jpg").crop((300, 200, 1500, 1100)).resize(SIZE, Image.Resampling.LANCZOS)
photo.save("sources/photo.jpg", quality=92, subsampling="4:2:0")
photo.save("sources/photo_progressive.jpg", quality=92, progressive=True)
photo.save("sources/photo.png")
photo.save("sources/photo.webp", quality=92)
photo.save("sources/photo_lossless.webp", lossless=True)
photo.save("sources/photo.avif", quality=92)
photo.quantize(128).save("sources/photo.gif")
photo.save("sources/photo.tiff", compression="tiff_lzw")
photo.quantize(64).save("sources/photo_palette.tiff", compression="tiff_lzw")
photo.resize((80, 60)).save("sources/photo.bmp")
photo.convert("L").save("sources/photo_gray.jpg", quality=92)

# Drawn large and reduced, for smooth edges: no two corners, edges or halves alike.
scale = 8
emblem = Image.new("RGBA", (SIZE[0] * scale, SIZE[1] * scale), (0, 0, 0, 0))
draw = ImageDraw.Draw(emblem)
at = lambda *points: [value * scale for value in points]
draw.rounded_rectangle(at(4, 4, 116, 86), 12 * scale, fill=(250, 240, 220, 255))
draw.ellipse(at(8, 8, 48, 48), fill=(200, 40, 50, 255))
draw.polygon(at(112, 8, 112, 50, 70, 8), fill=(40, 150, 70, 255))
draw.rectangle(at(8, 60, 50, 82), fill=(40, 70, 200, 160))
draw.line(at(60, 82, 112, 60), fill=(30, 30, 30, 255), width=3 * scale)
draw.ellipse(at(52, 36, 72, 56), fill=(240, 190, 40, 90))
emblem = emblem.resize(SIZE, Image.Resampling.LANCZOS)
emblem.save("sources/emblem.png", optimize=True)
