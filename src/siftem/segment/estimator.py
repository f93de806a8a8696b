"""Settings by name, as estimators of scikit-learn have them, whose import takes a second."""

from __future__ import annotations

import inspect
from typing import Any, Self

from siftem.errors import InputError


class Estimator:
    """What ``sklearn.base.clone``, pipelines and searches ask of an estimator.

    The parameters are those of the constructor, which does no more than to store them.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` adds those of an estimator among them."""
        own = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        if deep:
            for name, value in list(own.items()):
                if hasattr(value, "get_params"):
                    own |= {f"{name}__{n}": v for n, v in value.get_params().items()}
        return own

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name, ``name__inner`` those of an estimator among them."""
        known = inspect.signature(type(self)).parameters
        for name, value in params.items():
            outer, _, inner = name.partition("__")
            if outer not in known:
                raise InputError(
                    f"{type(self).__name__} has no parameter {outer!r}; it has {', '.join(known)}"
                )
            if inner:
                getattr(self, outer).set_params(**{inner: value})
            else:
                setattr(self, outer, value)
        return self

    def __repr__(self) -> str:
        known = inspect.signature(type(self)).parameters.items()
        own = ((n, p.default, getattr(self, n)) for n, p in known)
        changed = ", ".join(f"{n}={v!r}" for n, default, v in own if repr(v) != repr(default))
        return f"{type(self).__name__}({changed})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.base import BaseEstimator

        return BaseEstimator().__sklearn_tags__()
