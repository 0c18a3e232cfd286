"""Keys of published ViTs."""

from robustnet_mm.weights.spec import HOST_PARTS, SELFSUP_PARTS, Source, StateDict

_TORCHVISION_VIT = [
    (r"class_token", r"cls_token"),
    (r"conv_proj\.(.*)", r"patch_embed.proj.\1"),
    (r"encoder\.pos_embedding", r"pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.(.*)", r"blocks.\1.\2"),
    (r"(.*)\.self_attention\.in_proj_(.*)", r"\1.attn.qkv.\2"),
    (r"(.*)\.self_attention\.out_proj\.(.*)", r"\1.attn.proj.\2"),
    (r"(.*)\.ln_(\d)\.(.*)", r"\1.norm\2.\3"),
    (r"(.*)\.mlp\.(?:0|linear_1)\.(.*)", r"\1.mlp.fc1.\2"),
    (r"(.*)\.mlp\.(?:3|linear_2)\.(.*)", r"\1.mlp.fc2.\2"),
    (r"encoder\.ln\.(.*)", r"norm.\1"),
    (r"heads\.head\.(.*)", r"head.\1"),
]
_MMPRETRAIN_VIT = [
    (r"backbone\.(.*)", r"\1"),
    (r"patch_embed\.projection\.(.*)", r"patch_embed.proj.\1"),
    (r"pre_norm\.(.*)", r"norm_pre.\1"),
    (r"layers\.(\d+)\.(.*)", r"blocks.\1.\2"),
    (r"(blocks\..*)\.ln(\d)\.(.*)", r"\1.norm\2.\3"),
    (r"(.*)\.ffn\.layers\.0\.0\.(.*)", r"\1.mlp.fc1.\2"),
    (r"(.*)\.ffn\.layers\.1\.(.*)", r"\1.mlp.fc2.\2"),
    (r"(.*)\.attn\.gamma1\.weight", r"\1.ls1.gamma"),
    (r"(.*)\.ffn\.gamma2\.weight", r"\1.ls2.gamma"),
    (r"ln1\.(.*)", r"norm.\1"),
    (r"ln2\.(.*)", r"fc_norm.\1"),
    (r"head\.(?:layers\.head|fc)\.(.*)", r"head.\1"),
    (HOST_PARTS, None),
]
_HF_VIT = [
    (r"(?:vit|deit|dinov2|dinov2_with_registers)\.(.*)", r"\1"),
    (r"embeddings\.cls_token", r"cls_token"),
    (r"embeddings\.distillation_token", r"dist_token"),
    (r"embeddings\.register_tokens", r"reg_token"),
    (r"embeddings\.position_embeddings", r"pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.(.*)", r"patch_embed.proj.\1"),
    (r"encoder\.layer\.(\d+)\.(.*)", r"blocks.\1.\2"),
    *[
        (
            rf"(.*)\.attention\.attention\.{part}\.(.*)",
            rf"\1.attn.qkv.\2#{k}",
        )  # joined: see convert
        for k, part in enumerate(("query", "key", "value"))
    ],
    (r"(.*)\.attention\.output\.dense\.(.*)", r"\1.attn.proj.\2"),
    (r"(.*)\.intermediate\.dense\.(.*)", r"\1.mlp.fc1.\2"),
    (r"(.*)\.output\.dense\.(.*)", r"\1.mlp.fc2.\2"),
    (r"(.*)\.mlp\.weights_in\.(.*)", r"\1.mlp.fc1.\2"),
    (r"(.*)\.mlp\.weights_out\.(.*)", r"\1.mlp.fc2.\2"),
    (r"(.*)\.layernorm_before\.(.*)", r"\1.norm1.\2"),
    (r"(.*)\.layernorm_after\.(.*)", r"\1.norm2.\2"),
    (r"(.*)\.layer_scale(\d)\.lambda1", r"\1.ls\2.gamma"),
    (r"layernorm\.(.*)", r"norm.\1"),
    (r"(?:cls_)?classifier\.(.*)", r"head.\1"),
    (r"distillation_classifier\.(.*)", r"head_dist.\1"),
    (r"(embeddings\.mask_token|pooler\..*)", None),
]
_DINO_V2 = [
    (r"register_tokens", r"reg_token"),
    (r"(.*)\.mlp\.w12\.(.*)", r"\1.mlp.fc1.\2"),
    (r"(.*)\.mlp\.w3\.(.*)", r"\1.mlp.fc2.\2"),
]
_SWIGLU = [
    (r"(.*)\.mlp\.w1\.(.*)", r"\1.mlp.fc1_g.\2"),
    (r"(.*)\.mlp\.w2\.(.*)", r"\1.mlp.fc1_x.\2"),
    (r"(.*)\.mlp\.w3\.(.*)", r"\1.mlp.fc2.\2"),
]
_DINO_V3 = [
    (r"storage_tokens", r"reg_token"),
    (r"(.*)\.ls(\d)\.gamma", r"\1.gamma_\2"),
    *_SWIGLU,
    (r"rope_embed\.periods|local_cls_norm\..*|.*\.bias_mask", None),
]
_EVA_02 = [
    (r"(.*)\.attn\.inner_attn_ln\.(.*)", r"\1.attn.norm.\2"),
    (r"(.*)\.mlp\.ffn_ln\.(.*)", r"\1.mlp.norm.\2"),
    (r"(.*)\.mlp\.w12\.(.*)", r"\1.mlp.fc1.\2"),
    *_SWIGLU,
    (r"(.*\.)?rope\..*", None),
]
_EVA_02_SPLIT = [(r"(.*)\.attn\.(q|v)_bias", r"\1.attn.\2_proj.bias"), *_EVA_02]


def _fold_class_position(weights: StateDict) -> StateDict:
    """timm's networks with registers give positions to patches only: the class token's joins it."""
    table = weights["pos_embed"]
    return {
        **weights,
        "cls_token": weights["cls_token"] + table[:, :1],
        "pos_embed": table[:, 1:],
    }


def _drop_key_biases(weights: StateDict) -> StateDict:
    """DINOv3 keeps a bias of (q, k, v) whose middle is masked; timm has q and v, or none."""
    done = {}
    for key, value in weights.items():
        if not key.endswith(".attn.qkv.bias"):
            done[key] = value
            continue
        q, _, v = value.chunk(3)
        if q.any() or v.any():
            stem = key.removesuffix("qkv.bias")
            done |= {f"{stem}q_bias": q, f"{stem}v_bias": v}
    return done


VIT_SOURCES = (
    Source("ViT (torchvision)", "ViT", r"encoder\.pos_embedding", _TORCHVISION_VIT),
    Source(
        "ViT (mmpretrain, mmdet)",
        "ViT",
        r"backbone\.layers\.0\.attn\.qkv\.weight",
        _MMPRETRAIN_VIT,
    ),
    Source(
        "ViT with registers (Hugging Face transformers)",
        "ViT",
        r"(dinov2_with_registers\.)?embeddings\.register_tokens",
        _HF_VIT,
        finish=_fold_class_position,
    ),
    Source(
        "ViT, DeiT, DINOv2 (Hugging Face transformers)",
        "ViT",
        r"((vit|deit|dinov2)\.)?encoder\.layer\.0\.attention\.attention\.query\.weight",
        _HF_VIT,
    ),
    Source(
        "DINO, solo-learn (training checkpoint)",
        "ViT",
        r"backbone\.blocks\.0\.attn\.qkv\.weight",
        [(r"(?:dino_|ibot_)?head\..*", None), (SELFSUP_PARTS, None), (r"backbone\.(.*)", r"\1")],
    ),
    Source(
        "DINOv2 with registers (authors)",
        "ViT",
        r"register_tokens",
        _DINO_V2,
        finish=_fold_class_position,
    ),
    Source("DINOv3 (authors)", "ViT", r"storage_tokens", _DINO_V3, finish=_drop_key_biases),
    Source(
        "EVA-02 with separate q, k, v (authors, timm)",
        "ViT",
        r"blocks\.0\.attn\.q_proj\.weight",
        _EVA_02_SPLIT,
    ),
    Source("EVA-02 (authors)", "ViT", r"(.*\.)?rope\.freqs_cos", _EVA_02),
    Source("DINOv2 giant (authors)", "ViT", r"blocks\.0\.mlp\.w12\.weight", _DINO_V2),
    Source(
        "BEiT (authors)",
        "ViT",
        r"(rel_pos_bias|blocks\.0\.attn)\.relative_position_index",
        [(r".*relative_position_index", None)],
    ),
    Source("MAE, with its decoder", "ViT", r"decoder_embed\.weight"),
    Source("ViT pooled by the mean (timm; MAE, fine-tuned)", "ViT", r"fc_norm\.weight"),
    Source("ViT (timm, DeiT, MAE, DINO, DINOv2)", "ViT", r"blocks\.0\.(attn\.qkv|norm1)\.weight"),
)
