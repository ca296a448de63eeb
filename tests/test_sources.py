"""Sources of networks: keyed draws, lives, inner training, the teacher store and its checks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infodistill.augment import identity, shift
from infodistill.compute import Policy, View
from infodistill.looks import Looks
from infodistill.nets.convnet import convnet
from infodistill.real import RealData
from infodistill.sources.rolling import Rolling
from infodistill.sources.teachers import Teachers, random_teachers, train_teachers
from infodistill.synthetic import from_real, synthesise
from infodistill.training import Fit
from infodistill.types import ValueSpace
from table import NET, tiny_real

SHAPE = (1, 8, 8)
FIT = Fit(3, 12, 0.05, 0.9)


def weights(view: View) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in view.params.values()])


def rolled(source: Rolling, steps: int, real: RealData) -> list[torch.Tensor]:
    syn = synthesise(real, 2, 0, from_real).batch().detach()
    seen = []
    for _ in range(steps):
        seen.append(weights(source.draw()))
        source.advance(syn, real)
    return seen


def test_a_network_lives_for_inner_updates_and_is_then_drawn_afresh() -> None:
    seen = rolled(Rolling(NET, SHAPE, 3, seed=0, inner=2), 6, tiny_real())
    for a, b in ((0, 1), (2, 3), (4, 5)):
        assert torch.equal(seen[a], seen[b])
    assert not torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[2], seen[4])


def test_a_draw_depends_on_seed_owner_and_step_only() -> None:
    real = tiny_real()
    skipping = Rolling(NET, SHAPE, 3, seed=0)
    skipping.step = 4
    assert torch.equal(weights(skipping.draw()), rolled(Rolling(NET, SHAPE, 3, seed=0), 5, real)[4])
    assert not torch.equal(weights(skipping.draw()), weights(Rolling(NET, SHAPE, 3, seed=1).draw()))
    assert not torch.equal(
        weights(Rolling(NET, SHAPE, 3, seed=0).draw()), weights(Rolling(NET, SHAPE, 3, seed=0, owner="other").draw())
    )


def test_inner_training_happens_between_the_updates_of_a_life_but_not_after_its_last() -> None:
    """T updates in a life mean T - 1 trainings: the first network of every life is untrained."""
    real = tiny_real()
    plain = rolled(Rolling(NET, SHAPE, 3, seed=0, inner=3), 6, real)
    trained = rolled(Rolling(NET, SHAPE, 3, seed=0, inner=3, train=Fit(2, 4, 0.05)), 6, real)
    for start in (0, 3):
        assert torch.equal(trained[start], plain[start])
        assert not torch.equal(trained[start + 1], trained[start])
        assert not torch.equal(trained[start + 2], trained[start + 1])


def test_ages_count_updates_of_the_life() -> None:
    source, real = Rolling(NET, SHAPE, 3, seed=0, inner=3), tiny_real()
    syn = synthesise(real, 1, 0, from_real).batch().detach()
    ages = []
    for _ in range(4):
        ages.append(source.draw().age)
        source.advance(syn, real)
    assert ages == [0, 1, 2, 0]


def test_teachers_learn_are_stored_and_come_back_the_same(tmp_path: Path) -> None:
    real = replace_test(tiny_real())
    first = train_teachers(real, NET, count=2, fit=FIT, cache=tmp_path)
    assert min(first.accuracies) > 0.8
    stored = sorted(tmp_path.rglob("*.safetensors"))
    stamps = [path.stat().st_mtime_ns for path in stored]
    again = train_teachers(real, NET, count=2, fit=FIT, cache=tmp_path)
    assert [path.stat().st_mtime_ns for path in stored] == stamps
    for a, b in zip(first.views, again.views, strict=True):
        assert torch.equal(weights(a), weights(b))
        assert a.accuracy == b.accuracy
        assert b.space == real.space
        assert not any(value.requires_grad for value in b.params.values())


def test_a_larger_pool_contains_the_smaller_and_other_settings_do_not_meet(tmp_path: Path) -> None:
    real = tiny_real()
    two = train_teachers(real, NET, count=2, fit=FIT, cache=tmp_path)
    three = train_teachers(real, NET, count=3, fit=FIT, cache=tmp_path)
    for a, b in zip(two.views, three.views, strict=False):
        assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(three.views[0]), weights(three.views[2]))
    longer = train_teachers(real, NET, count=1, fit=replace(FIT, epochs=4), cache=tmp_path)
    other = train_teachers(real, convnet(depth=1, width=8), count=1, fit=FIT, cache=tmp_path)
    assert not torch.equal(weights(longer.views[0]), weights(two.views[0]))
    assert len(weights(other.views[0])) != len(weights(two.views[0]))
    # Three recipes: the pools of two and of three share nothing on disk only if count is part of the key.
    assert len({path.parent for path in tmp_path.rglob("*.safetensors")}) == 3


def test_an_interrupted_pool_continues(tmp_path: Path) -> None:
    real = tiny_real()
    whole = train_teachers(real, NET, count=3, fit=FIT, cache=tmp_path)
    (folder,) = {path.parent for path in tmp_path.rglob("*.safetensors")}
    (folder / "0001.json").unlink()
    again = train_teachers(real, NET, count=3, fit=FIT, cache=tmp_path)
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(whole.views, again.views, strict=True))


def test_teachers_of_another_class_order_are_refused(tmp_path: Path) -> None:
    train_teachers(tiny_real(), NET, count=1, fit=FIT, cache=tmp_path)
    (described,) = tmp_path.rglob("0000.json")
    told = json.loads(described.read_text())
    described.write_text(json.dumps({**told, "class_names": told["class_names"][::-1]}))
    with pytest.raises(ValueError, match="names and order must agree"):
        train_teachers(tiny_real(), NET, count=1, fit=FIT, cache=tmp_path)


def test_cut_teacher_files_and_weak_teachers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 1\.100 is wanted"):
        train_teachers(tiny_real(), NET, count=1, fit=FIT, cache=tmp_path, at_least=1.1)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read"):
        train_teachers(tiny_real(), NET, count=1, fit=FIT, cache=tmp_path)
    with pytest.raises(ValueError, match="at least one network"):
        Teachers([])


def test_teachers_are_drawn_by_step_and_convert_the_value_space() -> None:
    real = tiny_real()
    pool = random_teachers(NET, real, count=4, seed=3)
    order = []
    batch = real.rows(torch.arange(6))
    for _ in range(40):
        order.append(next(i for i, view in enumerate(pool.views) if view is pool.draw()))
        pool.advance(batch, real)
    assert set(order) == {0, 1, 2, 3}
    view, elsewhere = pool.views[0], ValueSpace((0.1,), (0.7,))
    same = elsewhere.from_pixels(real.space.to_pixels(batch.x))
    torch.testing.assert_close(view.logits(same, elsewhere), view.logits(batch.x, real.space), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(view.logits(same), view.logits(batch.x))


def test_a_look_applies_one_record_to_both_streams_and_detaches_the_real_one() -> None:
    real = tiny_real()
    syn = synthesise(real, 2, 0, from_real)
    looks = Looks(Rolling(NET, SHAPE, 3, seed=0), shift(1), seed=0)
    a, b = syn.batch(), real.batch(0, 0, 5)
    look = looks.look(a, b)
    assert look.syn()[0].requires_grad
    assert not look.real()[0].requires_grad
    torch.testing.assert_close(look.syn_images, looks.augment.apply(a.x, look.record, a.y))
    assert looks.look(a, b) is not look
    with looks.holding():
        assert looks.look(a, b) is looks.look(a, b)
        assert looks.look(a, real.batch(0, 1, 5)) is not looks.look(a, b)
    first = looks.look(a, b).record
    looks.advance(a.detach(), real)
    assert not torch.equal(looks.look(a, b).record, first)


def test_stages_asked_later_are_those_asked_together() -> None:
    real = tiny_real()
    syn = synthesise(real, 2, 0, from_real).batch()
    looks = Looks(Rolling(NET, SHAPE, 3, seed=0), identity(), seed=0, reads=None)
    look, batch = looks.look(syn, real.batch(0, 0, 5)), real.batch(0, 0, 5)
    direct = looks.nets.draw().stages(batch.x)
    for got, wanted in zip(look.real((0, 1)), direct, strict=True):
        torch.testing.assert_close(got, wanted)


def test_policies_reach_every_network() -> None:
    rolling = Rolling(NET, SHAPE, 3, seed=0)
    rolling.use(Policy(chunk=2))
    assert rolling.draw().policy.chunk == 2
    pool = random_teachers(NET, tiny_real(), count=2)
    pool.use(Policy(chunk=3))
    assert {view.policy.chunk for view in pool.views} == {3}


def replace_test(real: RealData) -> RealData:
    """The same data with a held-out part to measure teachers on."""
    rest, held = real.split(0.25, 0)
    rest.test = held
    return rest


def test_a_run_is_not_continued_through_other_teachers() -> None:
    real = tiny_real()
    state = random_teachers(NET, real, count=2, seed=0).state_dict()
    random_teachers(NET, real, count=2, seed=0).load_state_dict(state)
    for other in (random_teachers(NET, real, count=3, seed=0), random_teachers(NET, real, count=2, seed=1)):
        with pytest.raises(ValueError, match="other teachers"):
            other.load_state_dict(state)


def test_a_teacher_may_be_kept_for_a_networks_life() -> None:
    real = tiny_real()
    pool = random_teachers(NET, real, count=5, seed=3).held(4)
    batch = real.rows(torch.arange(3))
    order = []
    for _ in range(16):
        order.append(next(i for i, view in enumerate(pool.views) if view is pool.draw()))
        pool.advance(batch, real)
    assert [order[i : i + 4] for i in range(0, 16, 4)] == [[order[i]] * 4 for i in range(0, 16, 4)]
    assert len(set(order)) > 1


def test_damaged_teacher_records_are_trained_again(tmp_path: Path) -> None:
    real = tiny_real()
    first = train_teachers(real, NET, count=1, fit=FIT, cache=tmp_path)
    (described,) = tmp_path.rglob("0000.json")
    described.write_text('{"format": 1, "cla')
    again = train_teachers(real, NET, count=1, fit=FIT, cache=tmp_path)
    assert torch.equal(weights(first.views[0]), weights(again.views[0]))
    assert json.loads(described.read_text())["epochs"] == 3
