"""The pixel classifier on small count maps; its forest has tests of its own."""

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from siftem.errors import InputError, ReadError, SiftemWarning
from siftem.segment import classifier_file
from siftem.segment.classifier import PixelClassifier, normalised_entropy

TREES = 40


def phantom(seed=0, shape=(48, 52)):
    """Return a disc of one phase in another, 20 counts a pixel in three maps, with truth."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    truth = (np.hypot(y - 22, x - 25) < 13).astype(int)
    rates = np.array([[9.0, 7.0, 4.0], [4.0, 8.0, 8.0]])[truth]
    counts = rng.poisson(np.moveaxis(rates, -1, 0))
    return dict(zip(("Mg", "O", "Si"), counts, strict=True)), truth


def strokes(shape=(48, 52)):
    traces = np.zeros(shape, dtype=np.uint8)
    traces[3, 5:15] = traces[40:48, 45] = traces[5:15, 48] = 1
    traces[22, 18:28] = traces[16:26, 32] = traces[28, 20:30] = 2
    return traces


@pytest.fixture(scope="module")
def images():
    return phantom()[0]


@pytest.fixture(scope="module")
def trained(images):
    return PixelClassifier(n_trees=TREES, poisson=True).fit(images, strokes())


def test_labels_are_right_on_a_noisy_map(trained, images):
    truth = phantom()[1]
    labels = trained.predict(images)
    assert set(np.unique(labels)) == {1, 2}
    assert (labels == truth + 1).mean() > 0.95
    assert trained.oob_score_ > 0.9


def test_a_trained_classifier_applies_to_another_map(trained):
    other, truth = phantom(seed=9)
    assert (trained.predict(other) == truth + 1).mean() > 0.95


def test_probabilities_sum_to_one_and_none_is_zero(trained, images):
    p = trained.predict_proba(images)
    assert p.shape == (2, 48, 52)
    np.testing.assert_allclose(p.sum(axis=0), 1.0)
    assert p.min() >= 1 / (1 + (TREES + 1) ** 2) * (1 - 1e-12)


def test_rule_of_succession(trained, images):
    plain = clone(trained).set_params(smoothing=0.0, sharpness=1.0)
    raw = plain.fit(images, strokes()).predict_proba(images)
    expected = (TREES * raw + 1) ** 2
    expected /= expected.sum(axis=0)
    np.testing.assert_allclose(trained.predict_proba(images), expected, atol=1e-6)
    assert raw.min() == 0.0


def test_same_seed_same_bits_whatever_the_threads(images):
    first, second, other = (
        PixelClassifier(n_trees=TREES, random_state=seed, n_jobs=jobs)
        .fit(images, strokes())
        .predict_proba(images)
        for seed, jobs in ((1, 1), (1, 3), (2, 1))
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_blocks_of_pixels_do_not_show(images, monkeypatch):
    trained = PixelClassifier(KNeighborsClassifier(5), sigmas=(1,)).fit(images, strokes())
    whole = trained.predict_proba(images)
    monkeypatch.setattr("siftem.segment.classifier.BLOCK", 101)
    np.testing.assert_array_equal(trained.predict_proba(images), whole)


def test_a_longer_trace_is_no_advantage():
    # Nothing but noise, and leaves too large to learn it by heart: without balance, the
    # class with nine times the paint would get nine tenths of the probability.
    rng = np.random.default_rng(4)
    images = {"noise": rng.normal(size=(60, 60))}
    traces = np.zeros((60, 60), int)
    traces[::4, ::4] = 1
    traces[2::12, 2::12] = 2
    classifier = PixelClassifier(n_trees=100, features=("original",), min_samples_leaf=60)
    p = classifier.fit(images, traces).predict_proba(images)
    assert p[1].mean() == pytest.approx(0.5, abs=0.05)


def test_several_maps_train_together(images):
    other, _ = phantom(seed=5)
    empty = np.zeros((48, 52), int)
    both = PixelClassifier(n_trees=TREES).fit([images, other], [strokes(), empty])
    alone = PixelClassifier(n_trees=TREES).fit(images, strokes())
    np.testing.assert_array_equal(both.predict_proba(other), alone.predict_proba(other))
    second = np.where(strokes() == 2, 2, 0)
    first = np.where(strokes() == 1, 1, 0)
    split = PixelClassifier(n_trees=TREES).fit([images, other], [first, second])
    assert split.classes_.tolist() == [1, 2]


def test_channels_are_taken_by_name(trained, images):
    shuffled = {"HAADF": np.eye(48, 52), **{name: images[name] for name in ("Si", "O", "Mg")}}
    np.testing.assert_array_equal(trained.predict_proba(shuffled), trained.predict_proba(images))
    with pytest.raises(InputError, match="lack 'Si'"):
        trained.predict_proba({name: images[name] for name in ("Mg", "O")})
    with pytest.raises(InputError, match="trained on"):
        trained.predict_proba(np.stack(list(images.values())))


def test_features_can_stand_for_images(trained, images):
    stack = trained.compute_features(images)
    again = clone(trained).fit(stack, strokes())
    np.testing.assert_array_equal(again.predict_proba(stack), trained.predict_proba(images))
    narrow = PixelClassifier(sigmas=(1,)).compute_features(images)
    with pytest.raises(InputError, match="same images and settings"):
        trained.predict_proba(narrow)


def test_importance_falls_on_the_channel_that_tells(trained):
    shares = trained.channel_importances_
    assert tuple(shares) == trained.channels_ == ("Mg", "O", "Si")
    assert sum(shares.values()) == pytest.approx(1.0)
    # O differs by 1 count between the phases, Mg by 5 and Si by 4.
    assert shares["O"] < 0.7 * min(shares["Mg"], shares["Si"])
    assert trained.feature_importances_.shape == (len(trained.feature_names_),)


def test_any_scikit_learn_classifier(images):
    own = LogisticRegression(max_iter=500)
    classifier = PixelClassifier(own, sigmas=(1, 2)).fit(images, strokes())
    stack = classifier.compute_features(images)
    painted = strokes() > 0
    direct = LogisticRegression(max_iter=500).fit(stack.values[painted], strokes()[painted])
    expected = direct.predict_proba(stack.values.reshape(48 * 52, -1)).T.reshape(2, 48, 52)
    np.testing.assert_allclose(classifier.predict_proba(images), expected, atol=1e-5)
    assert np.isnan(classifier.oob_score_)
    assert not hasattr(own, "classes_"), "the given classifier must stay untouched"
    with pytest.raises(AttributeError):
        _ = classifier.feature_importances_


def test_entropy_is_zero_for_sure_and_one_for_no_idea(trained, images):
    p = np.array([[[1.0, 1 / 3, 0.5]], [[0.0, 1 / 3, 0.5]], [[0.0, 1 / 3, 0.0]]])
    expected = [[0.0, 1.0, np.log(2) / np.log(3)]]
    np.testing.assert_allclose(normalised_entropy(p), expected, atol=1e-12)
    uncertainty = trained.uncertainty(images)
    np.testing.assert_allclose(uncertainty, normalised_entropy(trained.predict_proba(images)))
    truth = phantom()[1].astype(bool)
    y, x = np.indices(truth.shape)
    border = abs(np.hypot(y - 22, x - 25) - 13) < 1.5
    assert uncertainty[border].mean() > 2 * uncertainty[~border].mean()
    with pytest.raises(InputError, match="two classes"):
        normalised_entropy(np.ones((1, 2, 2)))


@pytest.mark.parametrize("own", [None, KNeighborsClassifier(3)])
def test_saved_and_loaded_gives_the_same_bits(tmp_path, images, own):
    classifier = PixelClassifier(
        own, n_trees=np.int64(TREES), sigmas=(1, 4), poisson={"Mg", "Si"}, random_state=7
    ).fit(images, strokes())
    path = tmp_path / "classifier.npz"
    classifier.save(path)
    loaded = PixelClassifier.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(images), classifier.predict_proba(images))
    assert loaded.classes_.tolist() == [1, 2]
    assert loaded.get_params()["random_state"] == 7
    with np.load(path, allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file} == {"U", "f", "i", "u"}
        assert json.loads(str(file["description"]))["settings"]["poisson"] == ["Mg", "Si"]


def test_the_traces_are_kept_with_the_classifier(tmp_path, images):
    second = np.where(strokes() == 2, 2, 0)
    classifier = PixelClassifier(n_trees=3, sigmas=(1,)).fit([images] * 2, [strokes(), second])
    path = tmp_path / "classifier.npz"
    classifier.save(path)
    first, other = PixelClassifier.load(path).traces_
    np.testing.assert_array_equal(first, strokes())
    np.testing.assert_array_equal(other, second)
    # Painting on goes on from them.
    more = first.astype(int)
    more[30, :10] = 1
    assert PixelClassifier.load(path).fit(images, more).traces_[0][30, 3] == 1
    # Files without them, as older ones are, train just the same.
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in ("description", "samples", "labels")})
    old = PixelClassifier.load(path)
    assert old.traces_ == ()
    np.testing.assert_array_equal(old.predict(images), classifier.predict(images))


class OwnForest(RandomForestClassifier):
    """A classifier that a file cannot describe."""


@pytest.mark.parametrize(
    "own", [OwnForest(5), make_pipeline(StandardScaler(), LogisticRegression())]
)
def test_what_json_cannot_describe_is_not_saved(tmp_path, images, own):
    classifier = PixelClassifier(own, sigmas=(1,)).fit(images, strokes())
    with pytest.raises(InputError, match="cannot be saved"):
        classifier.save(tmp_path / "c.npz")
    assert not list(tmp_path.iterdir())


def test_what_may_differ_when_it_is_trained_again_is_told(tmp_path, images, trained, monkeypatch):
    own = PixelClassifier(KNeighborsClassifier(3), sigmas=(1,)).fit(images, strokes())
    monkeypatch.setattr(classifier_file, "version_of", lambda name: "0.1.2")
    own.save(tmp_path / "own.npz")
    trained.save(tmp_path / "forest.npz")
    monkeypatch.undo()
    with pytest.warns(SiftemWarning, match=r"0\.1\.2"):
        PixelClassifier.load(tmp_path / "own.npz")
    PixelClassifier.load(tmp_path / "forest.npz")  # is siftem's own: no warning
    monkeypatch.setattr(classifier_file, "FORMAT_VERSION", 1)
    trained.save(tmp_path / "old.npz")
    monkeypatch.undo()
    with pytest.warns(SiftemWarning, match="another kind of forest"):
        PixelClassifier.load(tmp_path / "old.npz")


def test_files_that_are_no_classifier(tmp_path, trained, images, monkeypatch):
    with pytest.raises(InputError, match=r"\.npz"):
        trained.save(tmp_path / "c.json")
    with pytest.raises(ReadError, match="no file"):
        PixelClassifier.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", description=np.array({"a": 1}, dtype=object))
    np.savez(tmp_path / "list.npz", description=np.array("[]"), samples=0.0, labels=0)
    for name in ("text", "other", "pickle", "list"):
        with pytest.raises(ReadError, match="not a saved pixel classifier"):
            PixelClassifier.load(tmp_path / f"{name}.npz")
    monkeypatch.setattr(classifier_file, "FORMAT_VERSION", 99)
    trained.save(tmp_path / "new.npz")
    monkeypatch.undo()
    with pytest.raises(ReadError, match="newer"):
        PixelClassifier.load(tmp_path / "new.npz")


def test_a_file_cannot_name_a_class_outside_scikit_learn(tmp_path, images):
    path = tmp_path / "c.npz"
    PixelClassifier(KNeighborsClassifier(3), sigmas=(1,)).fit(images, strokes()).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    description = json.loads(str(arrays["description"]))
    description["settings"]["classifier"]["name"] = "os.system"
    arrays["description"] = np.array(json.dumps(description))
    np.savez(path, **arrays)
    with pytest.raises(ReadError, match="does not have"):
        PixelClassifier.load(path)


def painted(*classes):
    traces = np.zeros((48, 52), int)
    for i, label in enumerate(classes):
        traces[2 * i, :10] = label
    return traces


@pytest.mark.parametrize(
    ("traces", "words"),
    [
        (painted(), "empty"),
        (painted(1), "only class 1"),
        (painted(1, 3), "class 2 has no painted pixels"),
        (painted(2, 3), "class 1 has no painted pixels"),
        (painted(1, -1), "negative"),
        (painted(1, 2)[:, :-1], "outside the image"),
        (painted(1, 2).astype(float), "integers"),
        ([painted(1, 2)], "lists"),
    ],
)
def test_bad_traces_are_one_plain_sentence(images, traces, words):
    with pytest.raises(InputError, match=words) as error:
        PixelClassifier(n_trees=3, sigmas=(1,)).fit(images, traces)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classifier": LinearSVC()}, "predict_proba"),
        ({"random_state": None}, "random_state"),
        ({"random_state": -1}, "random_state"),
        ({"n_trees": 0}, "n_trees"),
        ({"min_samples_leaf": 0}, "min_samples_leaf"),
        ({"max_features": "all"}, "max_features"),
        ({"smoothing": -1}, "smoothing"),
        ({"sharpness": 0}, "sharpness"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"features": ("hue",)}, "hue"),
    ],
)
def test_bad_settings_are_one_plain_sentence(images, options, words):
    with pytest.raises(InputError, match=words):
        PixelClassifier(**options).fit(images, strokes())


def test_maps_must_have_their_traces_and_the_same_images(images):
    with pytest.raises(InputError, match="2 maps and 1"):
        PixelClassifier().fit([images, images], [strokes()])
    fewer = {name: images[name] for name in ("Mg", "O")}
    with pytest.raises(InputError, match="same images"):
        PixelClassifier(sigmas=(1,)).fit([images, fewer], [strokes(), strokes()])


def test_not_trained_yet(images, tmp_path):
    for use in (
        lambda c: c.predict_proba(images),
        lambda c: c.predict(images),
        lambda c: c.save(tmp_path / "c.npz"),
    ):
        with pytest.raises(InputError, match="not trained"):
            use(PixelClassifier())
