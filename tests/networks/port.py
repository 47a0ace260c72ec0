"""The public 3D port's network, written straight from its description, to check ours against.

Channels-first, padding and rolling, 1x1x1 convolutions, everything after the upsampling: slow and
plain on purpose, and with nothing in common with the package's own code.
"""

import torch
from torch import nn
from torch.nn import functional

SLIPPED = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1), (0, 0, 1)]


def norm(channels):
    return nn.GroupNorm(1, channels)


def rolled(x, shift_size, axis):
    reach = shift_size // 2
    padded = functional.pad(x, [reach] * 6)
    chunks = padded.chunk(shift_size, dim=1)
    moved = [chunk.roll(n - reach, dims=axis) for n, chunk in enumerate(chunks)]
    joined = torch.cat(moved, dim=1)
    for dim in (2, 3, 4):
        joined = joined.narrow(dim, reach, x.shape[dim])
    return joined


class Shift(nn.Module):
    def __init__(self, dim, shift_size):
        super().__init__()
        self.shift_size = shift_size
        self.conv1, self.conv3 = nn.Conv3d(dim, dim, 1), nn.Conv3d(dim, dim, 1)
        self.conv2_1, self.conv2_2, self.conv2_3 = (nn.Conv3d(dim, dim, 1) for _ in range(3))
        self.norm1, self.norm2, self.norm3 = norm(dim), norm(dim), norm(dim)

    def forward(self, x):
        x = functional.gelu(self.norm1(self.conv1(x)))
        convs = (self.conv2_1, self.conv2_2, self.conv2_3)
        summed = sum(
            functional.gelu(conv(rolled(x, self.shift_size, axis)))
            for axis, conv in zip((2, 3, 4), convs, strict=True)
        )
        return self.conv3(self.norm2(summed))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv3d(dim, 4 * dim, 1), nn.Conv3d(4 * dim, dim, 1)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, shift_size):
        super().__init__()
        self.norm1, self.norm2 = norm(dim), norm(dim)
        self.axial_shift, self.mlp = Shift(dim, shift_size), Mlp(dim)

    def forward(self, x):
        x = x + self.axial_shift(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Merge(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm, self.reduction = norm(8 * dim), nn.Conv3d(8 * dim, 2 * dim, 1, bias=False)

    def forward(self, x):
        parts = [x[:, :, i::2, j::2, k::2] for i, j, k in SLIPPED]
        return self.reduction(self.norm(torch.cat(parts, dim=1)))


class Stage(nn.Module):
    def __init__(self, dim, depth, shift_size, *, last):
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, shift_size) for _ in range(depth))
        self.downsample = None if last else Merge(dim)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class UpStage(nn.Module):
    def __init__(self, dim, depth, shift_size):
        super().__init__()
        self.squeeze1, self.squeeze2 = (nn.Conv3d(dim, dim // 2, 1) for _ in range(2))
        self.blocks = nn.ModuleList(Block(dim, shift_size) for _ in range(depth))

    def forward(self, x, skip):
        x = functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        x = torch.cat([self.squeeze1(x), skip], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.squeeze2(x)


class Embed(nn.Module):
    def __init__(self, channels, dim, patch):
        super().__init__()
        self.proj, self.norm = nn.Conv3d(channels, dim, patch, patch), norm(dim)

    def forward(self, x):
        return self.norm(self.proj(x))


class Port(nn.Module):
    def __init__(self, channels=1, classes=1, dim=8, patch=4, depths=(1, 1, 1), shift_size=5):
        super().__init__()
        self.patch, last = patch, len(depths) - 1
        self.patch_embed = Embed(channels, dim, patch)
        self.layers = nn.ModuleList(
            Stage(dim * 2**n, depth, shift_size, last=n == last) for n, depth in enumerate(depths)
        )
        self.dlayers = nn.ModuleList(
            UpStage(dim * 2**n, depths[n], shift_size) for n in range(last, 0, -1)
        )
        self.head = nn.ModuleList([nn.Conv3d(dim, dim // 2, 1), nn.Conv3d(dim // 2, classes, 1)])

    def forward(self, x):
        x, skips = self.patch_embed(x), []
        for layer in self.layers:
            skips.append(x)
            x = layer(x)
        for layer, skip in zip(self.dlayers, skips[-2::-1], strict=True):
            x = layer(x, skip)
        x = functional.interpolate(x, scale_factor=self.patch, mode="trilinear", align_corners=True)
        for convolution in self.head:
            x = convolution(x)
        return torch.sigmoid(x)
