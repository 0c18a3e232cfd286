"""The hooks of every training: exact resume, NaN guard, equal buffers on every process."""

custom_hooks = [
    dict(type="robustnet_mm.EpochSeedHook"),
    dict(type="robustnet_mm.NaNGuardHook"),
    dict(type="SyncBuffersHook"),  # every process tests what is saved
]
