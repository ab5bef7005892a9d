"""Settings that OpenCV takes from the environment once, when it is loaded; import this module before ``cv2``.

Whoever forks camera children from a process that already has ``cv2`` (the zygote) loads this module there first.
"""

from __future__ import annotations

import os
from typing import Final

MAX_PIXELS_DEFAULT: Final = 40_000_000

CAMERA_ENVIRONMENT: Final = {
    # without it, a 2.5 MB PNG of 30000 x 30000 pixels takes 15 s and 5 GB; our own header check comes first
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS_DEFAULT),
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # its lines on stderr have no camera and no time; the reader says what matters
    "OPENCV_LOG_LEVEL": "FATAL",
    "RES_OPTIONS": "timeout:1 attempts:1",  # a dead name server would block the reader for 10 s and more
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",  # a silent USB camera blocks a read for 10 s by default
}

for _name, _value in CAMERA_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
