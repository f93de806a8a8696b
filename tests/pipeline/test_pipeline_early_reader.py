"""A copy that is told later what to read: the same map, or nothing ahead at all."""

import os

import numpy as np
import pytest

from siftem.pipeline import early_reader, input_file
from siftem.pipeline.early_reader import COUNTS, EarlyReader, simulation
from siftem.pipeline.recipe import make_recipe
from siftem.pipeline.starting_recipe import demo_recipe
from siftem.pipeline.workflow import Workflow
from siftem.simulate.phantom import simulate_demo

copies = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes can't be copied")
DEMO = {"input": {"demo": {"shape": [16, 16], "channels": 64, "dose": 50, "random_state": 3}}}


def process() -> int:
    return os.getpid()


def refuse() -> None:
    raise AssertionError("prepared in the wrong process")


@copies
def test_the_copy_does_what_it_is_told_after_it_was_made():
    begun, begins = os.pipe()
    with EarlyReader(2, lambda: os.write(begins, b"x")) as early:
        os.read(begun, 1)
        assert early.ask(process)
        assert early.results()[COUNTS] != os.getpid()
    os.close(begun)
    os.close(begins)


@copies
def test_what_was_asked_ahead_counts_only_if_it_is_what_the_recipe_asks_for():
    with EarlyReader(2) as early:
        assert early.ask(simulation((8, 8), channels=64, dose=50.0, random_state=3))
        assert not early.ask(simulation((8, 8), channels=64, dose=50.0, random_state=4))
    with EarlyReader(2) as early:  # of the command, before it has a recipe
        early.ask(simulation((16, 16), dose=50.0, random_state=3))
        made = demo_recipe(shape=(16, 16), dose=50.0, random_state=3)
        with input_file.reading_ahead(made, 2, early) as ahead:
            assert ahead is early


@copies
def test_what_the_copy_could_not_do_is_done_here_without_waiting():
    with EarlyReader(2, refuse) as early:
        assert early.ask(process)
        assert early.results()[COUNTS] == os.getpid()


def test_alone_it_does_nothing_ahead():
    with EarlyReader(1, refuse) as early:
        assert not early.ask(process)


@copies
def test_a_recipe_is_read_by_whoever_waits_for_it_and_gives_the_same_map():
    recipe = make_recipe(DEMO)
    with EarlyReader(2) as early, input_file.reading_ahead(recipe, 2, early) as ahead:
        assert ahead is early
        found = Workflow(recipe, ahead=ahead).run("load").spectrum_image
    same = simulate_demo((16, 16), channels=64, dose=50, random_state=3).spectrum_image
    np.testing.assert_array_equal(found.counts.todense(), same.counts.todense())


@copies
def test_a_copy_that_is_not_needed_is_let_go(monkeypatch):
    monkeypatch.setattr(early_reader, "LARGEST", 1)
    with EarlyReader(2) as early:
        with input_file.reading_ahead(make_recipe(DEMO), 2, early) as ahead:
            assert ahead is not early
            assert ahead.results() == {}
        assert not early._running
