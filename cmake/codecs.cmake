# Settings for the C libraries that their crates build with cmake; .cargo/config.toml names this file. Only libaom looks at them:
# libjpeg-turbo's crate asks for a release build by itself.

# The crate asks for "Debug" in every profile but release; it means the same here.
set(CMAKE_C_FLAGS_DEBUG "-O3 -DNDEBUG" CACHE STRING "")
set(CMAKE_CXX_FLAGS_DEBUG "-O3 -DNDEBUG" CACHE STRING "")

# What Fovea encodes has 8 bits. Without the code for 10 and 12 the library builds in 2.4 minutes of CPU.
set(CONFIG_AV1_HIGHBITDEPTH 0 CACHE NUMBER "")

# Not used: a convolution of SVT-AV1 (whose licence, BSD-3-Clause-Clear, would be one more), noise modelling, and what only
# libaom's own programs need.
set(CONFIG_SVT_AV1 0 CACHE NUMBER "")
set(CONFIG_DENOISE 0 CACHE NUMBER "")
set(CONFIG_LIBYUV 0 CACHE NUMBER "")
set(CONFIG_WEBM_IO 0 CACHE NUMBER "")
