"""Reference labels from Fiji's Graph Cut plugin for tests/segment/fiji_graph_cut.npz.

    python validation/segment_fiji_graph_cut.py --classpath Graph_Cut-1.0.2.jar

needs a JDK and the plugin's jar (in the folder ``plugins`` of Fiji) or its class files. The
window of the plugin is left out: the driver below sets up the graph through the public
methods of ``graphcut.GraphCut`` with the weights that ``graphcut.Graph_Cut`` gives it for a
single slice without an edge image, in the same order and in single precision:

- ``p = value / max``, max being 256 for 8-bit and the image's largest value for 32-bit;
- to the source ``-log p - log 0.5``, to the sink ``-log(1 - p) - log 0.5``, the prior 0.5
  being the foreground bias in the middle of its slider;
- the smoothness, which is the slider's value (0 to 1000) times 0.01, both ways between
  eight neighbours;
- source side 255, sink side and free pixels 0. High p is therefore black.

The committed file was made under OpenJDK 17 with ``graphcut.GraphCut`` transcribed from the
public repository fiji/Graph_Cut, commit 22d3ad5eb56551c889a8d2c54f9b2f6c6383f5c0 (statement
by statement, without the reuse of trees, which is not called here); its plain array store
``graphcut.Graph`` was not at hand and was written anew.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

DRIVER = """
import graphcut.GraphCut;
import graphcut.Terminal;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;

public class Driver {
    public static void main(String[] args) throws Exception {
        int width = Integer.parseInt(args[1]), height = Integer.parseInt(args[2]);
        float max = Float.parseFloat(args[3]), potts = Float.parseFloat(args[4]), prior = 0.5f;
        FloatBuffer values = ByteBuffer.wrap(Files.readAllBytes(Paths.get(args[0])))
            .order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
        GraphCut cut = new GraphCut(width * height, 4 * width * height);
        for (int i = 0; i < width * height; i++) {
            float p = values.get(i) / max;
            float source = -(float) Math.log(p) - (float) Math.log(prior);
            float sink = -(float) Math.log(1.0 - p) - (float) Math.log(1.0 - prior);
            cut.setTerminalWeights(i, source, sink);
        }
        int[][] neighbours = {{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}};
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int[] d : neighbours) {
                    int nx = x + d[0], ny = y + d[1];
                    if (nx >= 0 && ny >= 0 && nx < width && ny < height)
                        cut.setEdgeWeight(y * width + x, ny * width + nx, potts);
                }
        cut.computeMaximumFlow(false, null);
        byte[] labels = new byte[width * height];
        for (int i = 0; i < labels.length; i++)
            labels[i] = (byte) (cut.getTerminal(i) == Terminal.FOREGROUND ? 255 : 0);
        Files.write(Paths.get(args[5]), labels);
    }
}
"""

#: Slider values over 100.
SMOOTHNESS = (0.0, 0.5, 1.0, 2.0, 5.0)


def probability_images() -> dict[str, np.ndarray]:
    """Noisy maps of two classes: any float, votes of 200 trees (some 0 and 1), 8 bits."""
    rng = np.random.default_rng(20240607)
    truth = ndimage.gaussian_filter(rng.normal(size=(44, 57)), 5) > 0
    log_odds = np.where(truth, 1.5, -1.5) + rng.normal(0, 2.0, truth.shape)
    p = 1 / (1 + np.exp(-log_odds))
    p /= p.max()
    return {
        "float": p.astype(np.float32),
        "votes": (np.round(200 * p) / 200).astype(np.float32),
        "bytes": np.round(255 * p).astype(np.uint8),
    }


def cut(values: np.ndarray, largest: float, smoothness: float, folder: Path, path: str):
    values.astype("<f4").tofile(folder / "in")
    height, width = values.shape
    arguments = ["in", str(width), str(height), str(largest), str(smoothness), "out"]
    classpath = f"{folder}:{path}"
    subprocess.run(["java", "-cp", classpath, "Driver", *arguments], check=True, cwd=folder)
    return np.fromfile(folder / "out", np.uint8).reshape(values.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classpath", required=True, help="the plugin's jar or class folder")
    path = str(Path(parser.parse_args().classpath).resolve())
    result: dict[str, np.ndarray] = {"smoothness": np.array(SMOOTHNESS)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Driver.java").write_text(DRIVER)
        subprocess.run(["javac", "-cp", path, "Driver.java"], check=True, cwd=folder)
        for kind, values in probability_images().items():
            largest = 256.0 if kind == "bytes" else float(values.max())
            result[kind] = values
            result[f"{kind}_black"] = np.stack(
                [cut(values, largest, s, folder, path) == 0 for s in SMOOTHNESS]
            )
    target = Path(__file__).parents[1] / "tests" / "segment" / "fiji_graph_cut.npz"
    target.parent.mkdir(exist_ok=True)
    np.savez_compressed(target, **result)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
