"""Write the digits as colour images, and two_stage.yaml beside them: python workloads/digits/two_stage_data.py DIR.

UCI handwritten digits (CC BY 4.0), scikit-learn's copy: 1,437 to train on, 360 held out, grey in three channels.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = np.repeat((digits.images * 15.9).astype(np.uint8)[..., None], 3, 3)
    order = np.random.default_rng(0).permutation(len(images))
    for name, part in (("train", order[:1437]), ("test", order[1437:])):
        np.savez(folder / f"{name}.npz", images=images[part], labels=digits.target[part])
    shutil.copy(Path(__file__).with_name("two_stage.yaml"), folder)
