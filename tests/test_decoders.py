"""Multi-formation: tile order, padding, exact adjoint, mosaics that decode to what they were made of, clamps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from infodistill.storage.decoders import Clamped, MultiFormation, tiles
from infodistill.storage.initial import Mosaic, Stored, bilinear, from_real, nearest
from infodistill.synthetic import synthesise
from table import tiny_real


def grid(n: int, c: int, h: int, w: int) -> torch.Tensor:
    return torch.arange(n * c * h * w, dtype=torch.float64).view(n, c, h, w)


def by_hand(pixels: torch.Tensor, factor: int, fill: float) -> torch.Tensor:
    """Image after image, tile after tile."""
    _, _, h, w = pixels.shape
    high, wide = -(-h // factor), -(-w // factor)
    out = []
    for image in pixels:
        whole = torch.full((image.shape[0], high * factor, wide * factor), fill, dtype=image.dtype)
        whole[:, :h, :w] = image
        for i in range(factor):
            for j in range(factor):
                tile = whole[:, i * high : (i + 1) * high, j * wide : (j + 1) * wide]
                out.append(F.interpolate(tile[None], (h, w), mode="bilinear", align_corners=False)[0])
    return torch.stack(out)


@pytest.mark.parametrize(("shape", "factor"), [((8, 8), 2), ((28, 28), 3), ((32, 32), 3), ((6, 10), 2), ((5, 7), 2)])
def test_tiles_in_reading_order_with_padding(shape: tuple[int, int], factor: int) -> None:
    pixels = grid(3, 2, *shape)
    got = tiles(pixels, factor, 0.5)
    assert got.shape == (3 * factor**2, 2, *shape)
    torch.testing.assert_close(got, by_hand(pixels, factor, 0.5))


def test_constant_quarters_decode_to_constant_images_in_order() -> None:
    image = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]
    got = MultiFormation(2)(image)
    assert [float(v) for v in got.flatten(1).mean(1)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert float(got.flatten(1).std(1).max()) < 1e-6


def test_the_gradient_is_the_exact_adjoint() -> None:
    x = torch.randn(2, 1, 7, 9, dtype=torch.float64, requires_grad=True)
    zero = tiles(torch.zeros_like(x), 2, 0.5)
    y = torch.randn(8, 1, 7, 9, dtype=torch.float64)
    (adjoint,) = torch.autograd.grad((tiles(x, 2, 0.5) * y).sum(), x)
    v = torch.randn_like(x)
    left = ((tiles(v, 2, 0.5) - zero) * y).sum()  # the decoder is affine because of the padding
    torch.testing.assert_close(left, (v * adjoint).sum())


def test_a_factor_of_one_and_no_space_is_the_identity() -> None:
    x = torch.rand(2, 1, 4, 4)
    assert MultiFormation(1)(x) is x
    with pytest.raises(ValueError, match="at least 1, got 0"):
        MultiFormation(0)


def test_a_nearest_mosaic_shows_its_images_in_order() -> None:
    real = tiny_real(size=8)
    images = from_real(real, 8, 3)
    mosaic = Mosaic(2)(real, 2, 3)
    assert mosaic.shape == (real.num_classes * 2, 1, 8, 8)
    small = nearest(images, (4, 4)).view(real.num_classes * 2, 2, 2, 1, 4, 4)
    for row in range(len(mosaic)):
        for i in range(2):
            for j in range(2):
                assert torch.equal(mosaic[row, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4], small[row, i, j])


def test_a_mosaic_of_sides_that_do_not_divide_is_cut_at_the_border() -> None:
    real = tiny_real(size=8, per_class=20)
    mosaic = Mosaic(3, shrink=bilinear)(real, 1, 0)
    assert mosaic.shape == (real.num_classes, 1, 8, 8)
    first = bilinear(from_real(real, 9, 0), (3, 3))[8]  # the last tile of class 0: two of its three pixels fit
    assert torch.equal(mosaic[0, :, 6:, 6:], first[:, :2, :2])


@pytest.mark.parametrize("factor", [5, 20])
def test_tiles_without_an_image_are_refused(factor: int) -> None:
    """5 tiles of 2 pixels on a side of 8: the fifth would begin at pixel 8."""
    with pytest.raises(ValueError, match=f"{factor} tiles of . pixels along a side of 8 leave tiles without an image"):
        tiles(torch.zeros(1, 1, 8, 8), factor, 0.5)
    with pytest.raises(ValueError, match="take a smaller factor"):
        Mosaic(factor)(tiny_real(size=8), 1, 0)


def test_a_mosaic_says_how_many_images_it_needs() -> None:
    with pytest.raises(ValueError, match="2 stored images of 4 x 4 tiles need 32 images of every class, tiny has a"):
        Mosaic(4)(tiny_real(size=8), 2, 0)


def test_a_set_of_pixels_decodes_into_the_value_space_and_is_clamped() -> None:
    real = tiny_real()
    syn = synthesise(
        real, 1, 0, Stored(Mosaic(2)), decode=MultiFormation(2, real.space), project=Clamped(),
    )  # fmt: skip
    assert syn.pixels.detach().amin() >= 0
    assert syn.pixels.detach().amax() <= 1
    batch = syn.batch()
    assert syn.decoded_per_class == 4
    assert batch.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    torch.testing.assert_close(batch.x, real.space.from_pixels(tiles(syn.pixels, 2)))
    with torch.no_grad():
        syn.pixels.add_(5)
    Clamped(3)(syn, 0)
    assert float(syn.pixels.detach().max()) > 1
    Clamped(3)(syn, 2)
    assert float(syn.pixels.detach().max()) == 1
    distilled = syn.export()
    assert distilled.images_bytes == syn.pixels.numel() * 4
    assert len(distilled.images) == 12
