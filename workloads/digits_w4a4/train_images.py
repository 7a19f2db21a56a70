"""Write the images that train.py of the workload digits trains on: python workloads/digits_w4a4/train_images.py FILE.npz."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "digits"))
from train import split

if __name__ == "__main__":
    x, _, y, _ = split()
    np.savez(sys.argv[1], images=x, labels=y)
