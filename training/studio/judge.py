"""An independent judge of pictures, run by the python of its own virtual environment (mediapipe wants numpy < 2).

    judge.py INDEX [INDEX ...] < frames > verdicts

For each picture on stdin, {"height": H, "width": W} and a newline, then H * W * 3 bytes of RGB, one line of JSON goes
to stdout: {"points": {INDEX: [x, y], ...} in pixels or null when no face is found, "person": H * W bits, base64, 1
where a person is seen}. It knows nothing of this project, and nothing here imports it.
"""

import base64
import json
import os
import sys

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import mediapipe as mp
import numpy as np

PERSON = 0.5  # probability above which a pixel shows a person


def main() -> None:
    wanted = [int(text) for text in sys.argv[1:]]
    faces = mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1)
    people = mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
    source, verdicts = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    while line := source.readline():
        head = json.loads(line)
        height, width = head["height"], head["width"]
        picture = np.frombuffer(source.read(height * width * 3), np.uint8).reshape(height, width, 3)
        found = faces.process(picture).multi_face_landmarks
        points = None
        if found:
            marks = found[0].landmark
            points = {index: [marks[index].x * width, marks[index].y * height] for index in wanted}
        person = people.process(picture).segmentation_mask > PERSON
        bits = base64.b64encode(np.packbits(person).tobytes()).decode()
        print(json.dumps({"points": points, "person": bits}), file=verdicts, flush=True)


if __name__ == "__main__":
    main()
