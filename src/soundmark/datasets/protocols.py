"""The protocols by which recipes are compared."""

from __future__ import annotations

PROTOCOLS = {
    "random": "a third of the clips, drawn at random, as the notebook does it",
    "folds": "each official fold tested once, trained on all the others",
    "grouped": "the same with folds that are made here and keep each recording together",
}
