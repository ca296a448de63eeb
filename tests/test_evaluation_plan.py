"""A plan is replayed under the protocol it was made for; under another the set is trained on like real images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infodistill.evaluation.evaluating import evaluate
from infodistill.evaluation.protocols import PROTOCOLS, EvaluationProtocol
from infodistill.nets.convnet import convnet
from infodistill.synthetic import from_real, synthesise
from table import tiny_real

NET = convnet(depth=1, width=4)
OWN = replace(PROTOCOLS["dd"], epochs=1, full_epochs=1)
OTHER = EvaluationProtocol("other", epochs=8, full_epochs=1, lr=0.05)


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trainings every distilled set was given."""
    import infodistill.evaluation.evaluating as module

    seen: list[int] = []
    plain = module.phases

    def counted(plan: object, protocol: object, batch: object) -> object:
        made = plain(plan, protocol, batch)  # type: ignore[arg-type]
        seen.append(len(made))
        return made

    monkeypatch.setattr(module, "phases", counted)
    return seen


@pytest.mark.parametrize(("protocol", "trainings"), [(None, 3), (OWN, 3), (OTHER, 1)])
def test_only_its_own_protocol_replays_a_plan(
    phases: list[int], protocol: EvaluationProtocol | None, trainings: int
) -> None:
    real = tiny_real()
    real.test = tiny_real()
    plan = [{"rows": None, "rates": [0.1], "steps": 1}] * 3
    made = synthesise(real, 1, 0, from_real).export(protocol=OWN.as_dict())
    distilled = replace(made, plan=tuple(plan))
    evaluate(distilled, real, {"net": NET}, protocol=protocol, seeds=[0], random_subsets=1)
    assert phases == [trainings]
