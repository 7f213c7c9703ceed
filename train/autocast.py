"""In which precision a device computes."""

from __future__ import annotations

import torch


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Compute in bf16 where it is asked for or, under 'auto', where the processor has it; else in f32."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and has_bf16(device))
    )


def has_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies bf16 numbers itself; emulated, they are slower than f32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
