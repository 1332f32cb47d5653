"""Denoise patches: .npy records on standard input, one back for each on standard output. python exec_denoise.py [SIGMA]."""

import io
import math
import sys

import numpy as np

sigma = float(sys.argv[1]) if len(sys.argv) > 1 else 18
with open(0, "rb") as source, open(1, "wb") as sink:
    while source.peek(1):
        np.lib.format.read_magic(source)
        shape, _, dtype = np.lib.format.read_array_header_1_0(source)
        batch = np.frombuffer(source.read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        spectrum = np.fft.fft2(batch, axes=(1, 2))
        noise = np.abs(spectrum) < 3 * sigma * math.sqrt(shape[1] * shape[2])  # of white noise: sigma times that root
        noise[:, 0, 0] = False  # the mean of a patch stays
        spectrum[noise] = 0
        record = io.BytesIO()
        np.save(record, np.fft.ifft2(spectrum, axes=(1, 2)).real.astype(np.float32))
        sink.write(record.getbuffer())
        sink.flush()
