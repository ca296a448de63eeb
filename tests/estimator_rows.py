"""The rows of the estimator table: estimator, law, direction, truth, tolerance (nats). See `estimator_table`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from estimator_table import (
    MLP,
    TABLE,
    N,
    Row,
    barber_agakov,
    fitted,
    gaussian,
    gaussian_ratio,
    gaussian_truth,
    infonce,
    intervals,
    nce,
    normal,
    nwj,
    read,
    sequence,
    shared,
    squares,
    table_ratio,
    table_sample,
    table_truth,
    two_classes,
    two_classes_truth,
    uniform,
    uniform_channel,
    usable,
)
from infodistill import information as info
from infodistill.seeding import stream

PAIRS: tuple[tuple[str, Callable[[], tuple[Tensor, Tensor]], float], ...] = (
    *((f"gaussian rho={rho}", partial(gaussian, rho), gaussian_truth(rho)) for rho in (0.0, 0.5, 0.9, 0.99)),
    ("gaussian 3+3 dimensions", partial(gaussian, 0.6, 3), gaussian_truth(0.6, 3)),
    ("uniform channel", partial(uniform_channel, 0.25), 0.125 - math.log(0.25)),
    ("4 uniform squares", partial(squares, 4), math.log(4)),
)
HIGH = ("gaussian 10+10 dimensions", partial(gaussian, 0.5, 10), gaussian_truth(0.5, 10))
CLASSES: tuple[tuple[str, Callable[[], tuple[Tensor, Tensor]], float], ...] = (
    ("4 overlapping intervals", intervals, math.log(4) - 0.75 * math.log(2)),
    ("2 gaussian classes", partial(two_classes, 1.0, 2), two_classes_truth(1.0)),
    ("2 classes alike", partial(two_classes, 0.0, 2), 0.0),
)
HIGH_CLASSES = ("2 gaussian classes, 20 dimensions", partial(two_classes, 1.0, 20), two_classes_truth(1.0))


def applied(call: Callable[..., float], law: Callable[[], tuple[Tensor, ...]]) -> Callable[[], float]:
    return lambda: call(*law())


def neighbours() -> list[Row]:
    rows = [
        Row(name, case, "consistent", truth, 0.06 if "3+3" in case else 0.04, applied(call, law))
        for name, call in (("KSG 1", info.ksg_mutual_information), ("KSG 2", info.ksg_mutual_information_2))
        for case, law, truth in PAIRS
    ]
    # In many dimensions the estimate is far too small: here it is held to be positive and no larger than the truth.
    rows += [Row("KSG 1", HIGH[0], "lower", HIGH[2], 1.0, applied(info.ksg_mutual_information, HIGH[1]))]
    rows += [
        Row("Frenzel-Pompe", "shared cause", "consistent", gaussian_truth(0.6), 0.05, applied(conditional, shared)),
        Row("Frenzel-Pompe", "cause only", "consistent", 0.0, 0.04, applied(conditional, cause_only)),
    ]
    by_class = info.class_mutual_information
    rows += [Row("Ross", case, "consistent", truth, 0.04, applied(by_class, law)) for case, law, truth in CLASSES]
    rows += [Row("Ross", HIGH_CLASSES[0], "lower", HIGH_CLASSES[2], 0.2, applied(by_class, HIGH_CLASSES[1]))]
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    rows += [
        Row("k-NN entropy", "gaussian", "consistent", entropy, 0.04, lambda: info.neighbour_entropy(normal(N))),
        Row(
            "k-NN entropy",
            "gaussian 3-d",
            "consistent",
            3 * entropy,
            0.08,
            lambda: info.neighbour_entropy(normal(N, 3)),
        ),
        Row("k-NN entropy", "uniform 2-d", "consistent", 0.0, 0.05, lambda: info.neighbour_entropy(uniform(N, 2))),
    ]
    return rows


conditional = info.ksg_conditional_mutual_information


def cause_only() -> tuple[Tensor, Tensor, Tensor]:
    a, b, z = normal(3, N, key=12)
    return a + z, b + z, z


def gaussians() -> list[Row]:
    """Exact for Gaussian samples; upper bounds on entropy, and on a class in Gaussian classes."""
    mutual, by_class, entropy = info.gaussian_mutual_information, info.gaussian_class_information, info.gaussian_entropy
    unit = 0.5 * math.log(2 * math.pi * math.e)
    rows = [
        Row(
            "Gaussian information",
            case,
            "consistent",
            truth,
            0.06 if "dimensions" in case else 0.04,
            applied(mutual, law),
        )
        for case, law, truth in (*PAIRS[:5], HIGH)
    ]
    rows += [Row("Gaussian entropy", "gaussian 3-d", "consistent", 3 * unit, 0.06, lambda: entropy(normal(N, 3)))]
    rows += [Row("Gaussian entropy", "uniform 2-d", "upper", 0.0, 0.4, lambda: entropy(uniform(N, 2)))]
    rows += [
        Row("Gaussian class information", case, "upper", truth, 0.05, applied(by_class, law))
        for case, law, truth in (*CLASSES[1:], HIGH_CLASSES)
    ]
    return rows


def critics() -> list[Row]:
    """The best critic, half of it, and another direction for CLUB."""
    rows: list[Row] = []
    for rho, loss in ((0.0, 0.02), (0.5, 0.05), (0.9, 0.1)):
        ratio, law, case = partial(gaussian_ratio, rho=rho), partial(gaussian, rho), f"gaussian rho={rho}"
        rows += critic_rows(case, gaussian_truth(rho), loss, ratio, law)
        club = partial(read, info.club_upper_bound, ratio)
        excess = rho**2 / (1 - rho**2) - gaussian_truth(rho)
        rows += [
            Row(
                "CLUB, true conditional", case, "upper", gaussian_truth(rho), excess + 0.2, lambda c=club, s=law: c(s())
            )
        ]
    rows += critic_rows("discrete table", table_truth(), 0.05, table_ratio, table_sample)
    zero = partial(read, info.club_upper_bound, lambda x, y: torch.zeros(len(x), len(y)))
    rows += [
        Row("CLUB, q ignores x", "gaussian rho=0.9", "lower", gaussian_truth(0.9), 0.84, lambda: zero(gaussian(0.9)))
    ]
    return rows


def critic_rows(
    case: str, truth: float, loss: float, ratio: Callable[..., Tensor], law: Callable[..., object]
) -> list[Row]:
    def of(call: Callable[..., float], scale: float = 1.0) -> Callable[[], float]:
        return lambda: call(ratio, law(), scale)

    dv, by_nwj, by_nce = (partial(read, reading) for reading in (info.donsker_varadhan_lower_bound, nwj, nce))
    return [
        Row("DV, best critic", case, "consistent", truth, 0.05, of(dv)),
        Row("NWJ, best critic", case, "consistent", truth, 0.05, of(by_nwj)),
        Row("InfoNCE, best critic", case, "lower", truth, 0.05, of(infonce)),
        Row("NCE, best critic", case, "lower", truth, 1.1, of(by_nce)),
        Row("DV, half critic", case, "lower", truth, 0.3 + loss, of(dv, 0.5)),
        Row("NWJ, half critic", case, "lower", truth, 0.3 + loss, of(by_nwj, 0.5)),
        Row("InfoNCE, half critic", case, "lower", truth, 0.3 + loss, of(infonce, 0.5)),
    ]


def trained() -> list[Row]:
    rows = [
        Row(f"{name.upper()}, fitted", case, "lower", truth, 0.35, lambda case=case, name=name: fitted(case)[name])
        for case, _, truth in (PAIRS[2], PAIRS[5])
        for name in ("dv", "nwj", "infonce")
    ]
    rows += [Row("CLUB, fitted", PAIRS[2][0], "upper", PAIRS[2][2], 4.0, lambda: fitted(PAIRS[2][0])["club"])]
    for case, law, truth in (*CLASSES, HIGH_CLASSES):
        near = 0.05 if "gaussian" in case or "alike" in case else 0.4  # log-odds linear in x, or not
        rows += [Row("usable, linear", case, "lower", truth, near, lambda law=law: usable(info.linear(), law()))]
    rows += [
        Row("usable, linear", "discrete table", "lower", table_truth(), 0.05, lambda: usable(info.linear(), one_hot()))
    ]
    rows += [
        Row("usable, network", case, "lower", truth, 0.15, lambda law=law: usable(info.calibrated(MLP()), law()))
        for case, law, truth in CLASSES[:2]
    ]
    conditional_y = TABLE / TABLE.sum(0) / 3
    rows += [
        Row(
            "Barber-Agakov, true",
            "discrete table",
            "consistent",
            table_truth(conditional_y),
            0.04,
            lambda: barber_agakov(1.0),
        ),
        Row(
            "Barber-Agakov, too sure",
            "discrete table",
            "lower",
            table_truth(conditional_y),
            0.8,
            lambda: barber_agakov(3.0),
        ),
    ]
    return rows


def one_hot() -> tuple[Tensor, Tensor]:
    x, y = table_sample()
    return torch.nn.functional.one_hot(x, 3).double(), y


def channels() -> list[Row]:
    """CMI of sampled rows, and pair bounds of two points at +-a under unit noise, three rows each."""
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]], dtype=torch.float64)
    cmi = float((p * (p / p.mean(0)).log()).sum()) / 3
    x = torch.randint(3, (N,), generator=stream(0, "estimators", 13))
    z, y = p.log()[x], torch.randint(10, (N,), generator=stream(0, "estimators", 14))
    shifted = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    rows = [
        Row("CMI, own centroids", "3 equal inputs", "lower", cmi, 0.02, lambda: info.sample_cmi(z, y)),
        Row("CMI, other centroids", "3 equal inputs", "upper", cmi, 0.2,
            lambda: info.sample_cmi_about(z, y, shifted.log().expand(10, 3), torch.arange(10))),
        Row("CMI of probabilities", "3 equal inputs", "lower", cmi, 0.02,
            lambda: float(info.conditional_mutual_information(z.exp(), y))),
    ]  # fmt: skip
    for a in (0.5, 1.0, 3.0):
        f, labels = torch.tensor([-a, a], dtype=torch.float64).repeat(3), torch.arange(2).repeat(3)
        for name, bounds in (("row", lambda f=f: info.row_information_bounds(f, 1.0)),
                             ("class", lambda f=f, y=labels: info.channel_class_bounds(f, y, 1.0))):  # fmt: skip
            for side in ("lower", "upper"):
                read_side = lambda b=bounds, s=side: getattr(b(), s)  # noqa: E731
                rows += [Row(f"pair bound, {name}", f"points at +-{a:g}", side, two_classes_truth(a), 0.3, read_side)]
    return rows


ROWS = sequence(neighbours(), gaussians(), critics(), trained(), channels())
