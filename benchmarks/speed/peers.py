"""Adapters to other people's packages, at the shape of a `Config`; each is imported only where it is used.

What differs from ours and costs little is left as the package has it: norms before or after, GELU, biases. What would
cost them time without need is chosen in their favour: torch's fused kernel, no dropout of attention probabilities, one
residual stream. Residual and embedding dropout are as in the Config.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speed.ours import Built
from speed.plain import mean_loss, shifted
from triptych.decode.steps.positions import sinusoids
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of
from triptych.shape.config import Config

# The name to install, and the name to import.
PACKAGES = {
    "x-transformers": "x_transformers",
    "transformers": "transformers",
    "local-attention": "local_attention",
    "ctranslate2": "ctranslate2",
}
REMEDY = 'pip install "triptych[bench]"'


def installed() -> tuple[str, ...]:
    """Name the peers that can be imported here."""
    return tuple(name for name, module in PACKAGES.items() if find_spec(module) is not None)


def x_decoder(config: Config, length: int, **attention: Any) -> nn.Module:
    """x-transformers' decoder-only model; `attention` are options of its layers, such as rotary_pos_emb=True."""
    from x_transformers import Decoder, TransformerWrapper

    layers = Decoder(dim=config.width, depth=config.decoder_layers, verbose=False, **_x_layer(config), **attention)
    model: nn.Module = TransformerWrapper(
        num_tokens=config.vocabulary,
        max_seq_len=length,
        emb_dropout=config.dropout,
        tie_embedding=True,
        attn_layers=layers,
    )
    return model


def x_translator(config: Config, length: int, smoothing: float) -> Built:
    """x-transformers' XTransformer (encoder and decoder), its output layer tied to the embeddings as ours is."""
    from x_transformers import XTransformer

    both = {
        "num_tokens": config.vocabulary,
        "max_seq_len": length,
        "emb_dropout": config.dropout,
        "attn_flash": True,
        **_x_layer(config),
    }
    model = XTransformer(
        dim=config.width,
        tie_token_emb=True,
        enc_depth=config.encoder_layers,
        dec_depth=config.decoder_layers,
        **{f"enc_{key}": value for key, value in both.items()},
        **{f"dec_{key}": value for key, value in both.items()},
    )
    decoder = model.decoder.net  # the wrapper around it would train on one token less, and without smoothing
    decoder.to_logits.weight = decoder.token_emb.emb.weight

    def loss(batch: Batch) -> Tensor:
        see = _source_mask(batch)
        encoded = model.encoder(batch.source, mask=see, return_embeddings=True)
        return mean_loss(decoder(shifted(batch), context=encoded, context_mask=see), batch, smoothing)

    return model, loss


def _x_layer(config: Config) -> dict[str, Any]:
    return {
        "heads": config.heads,
        "attn_dim_head": config.width // config.heads,
        "attn_sublayer_dropout": config.dropout,
        "ff_mult": config.feed_forward / config.width,
        "ff_sublayer_dropout": config.dropout,
    }


def gpt2(config: Config, length: int) -> nn.Module:
    """GPT-2 of transformers: full attention, learned positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = GPT2Config(
        vocab_size=config.vocabulary,
        n_positions=length,
        n_embd=config.width,
        n_layer=config.decoder_layers,
        n_head=config.heads,
        n_inner=config.feed_forward,
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model: nn.Module = GPT2LMHeadModel(shape)
    return model


def marian(config: Config, *, end: int = 1) -> Any:
    """MarianMTModel of transformers with random weights; padding 0, which also starts the target."""
    from transformers import MarianConfig, MarianMTModel

    shape = MarianConfig(
        vocab_size=config.vocabulary,
        d_model=config.width,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads,
        decoder_attention_heads=config.heads,
        encoder_ffn_dim=config.feed_forward,
        decoder_ffn_dim=config.feed_forward,
        dropout=config.dropout,
        attention_dropout=0.0,
        activation_function="relu",
        scale_embedding=True,
        pad_token_id=0,
        eos_token_id=end,
        decoder_start_token_id=0,
        forced_eos_token_id=end,
    )
    return MarianMTModel(shape)


def marian_translator(config: Config, smoothing: float) -> Built:
    """Marian as a contestant in training."""
    model = marian(config)

    def loss(batch: Batch) -> Tensor:
        out = model(
            input_ids=batch.source,
            attention_mask=_source_mask(batch).long(),
            decoder_input_ids=shifted(batch),
            use_cache=False,
        )
        return mean_loss(out.logits, batch, smoothing)

    return model, loss


def ctranslate2(model: Transformer, folder: Path, *, end: int, positions: int = 1024) -> None:
    """Write the weights of a translator as a model of CTranslate2 in float32 to a new folder.

    model: post or pre norm, ReLU, sinusoids, tied embeddings, one vocabulary. Token n is "n", END excepted: "</s>".
    Our table of positions is written out, because CTranslate2's own sinusoids are in another order.
    """
    from ctranslate2.specs import TransformerSpec

    config, weights = model.config, arrays_of(model)
    layers = config.encoder_layers, config.decoder_layers
    spec: Any = TransformerSpec.from_config(layers, config.heads, pre_norm=config.norm == "pre")
    table = sinusoids(np.arange(positions), config.width)
    spec.encoder.embeddings[0].weight = weights["input.embedding.weight"]
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = weights["input.embedding.weight"]
    spec.decoder.start_from_zero_embedding = True
    for stack, name in ((spec.encoder, "condition.encoder"), (spec.decoder, "decoder")):
        stack.position_encodings.encodings = table
        for number, layer in enumerate(stack.layer):
            _ctranslate2_layer(layer, f"{name}.{number}", weights)
    if config.norm == "pre":
        _ctranslate2_part(spec.encoder.layer_norm, "condition.norm", weights)
        _ctranslate2_part(spec.decoder.layer_norm, "decoder_norm", weights)
    tokens = [str(number) for number in range(config.vocabulary)]
    tokens[end] = "</s>"
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.unk_token, spec.config.bos_token = tokens[0], tokens[0]
    spec.config.decoder_start_token = tokens[0]  # its vector is replaced by zeros
    spec.validate()
    spec.optimize()
    folder.mkdir()
    spec.save(str(folder))


def _ctranslate2_layer(layer: Any, name: str, weights: dict[str, Any]) -> None:
    parts = [
        (layer.self_attention.layer_norm, "around_attention.norm"),
        (layer.self_attention.linear[0], "attention.query_key_value"),
        (layer.self_attention.linear[1], "attention.output"),
        (layer.ffn.layer_norm, "around_feed_forward.norm"),
        (layer.ffn.linear_0, "feed_forward.inner"),
        (layer.ffn.linear_1, "feed_forward.outer"),
    ]
    if hasattr(layer, "attention"):
        parts += [
            (layer.attention.layer_norm, "around_cross.norm"),
            (layer.attention.linear[0], "cross.query"),
            (layer.attention.linear[1], "cross.key_value"),
            (layer.attention.linear[2], "cross.output"),
        ]
    for part, ours in parts:
        _ctranslate2_part(part, f"{name}.{ours}", weights)


def _ctranslate2_part(part: Any, name: str, weights: dict[str, Any]) -> None:
    """Fill a linear map or a norm."""
    weight, bias = ("gamma", "beta") if hasattr(part, "gamma") else ("weight", "bias")
    setattr(part, weight, weights[f"{name}.weight"])
    setattr(part, bias, weights[f"{name}.bias"])


def local_transformer(config: Config, length: int, window: int) -> nn.Module:
    """local-attention's LocalTransformer: windows of `window` that see the window before; rotary positions."""
    from local_attention import LocalTransformer

    model: nn.Module = LocalTransformer(
        num_tokens=config.vocabulary,
        max_seq_len=length,
        dim=config.width,
        depth=config.decoder_layers,
        dim_head=config.width // config.heads,
        heads=config.heads,
        ff_mult=config.feed_forward / config.width,
        ff_dropout=config.dropout,
        local_attn_window_size=window,
        exact_windowsize=False,
        num_residual_streams=1,
    )
    return model


def local_attention(window: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """local-attention's LocalAttention as a function of query, key, value [B, H, L, D]: `Local1D(window, window)`."""
    from local_attention import LocalAttention

    function: Callable[[Tensor, Tensor, Tensor], Tensor] = LocalAttention(window, causal=True, autopad=True)
    return function


def _source_mask(batch: Batch) -> Tensor:
    """True where the source is no padding: bool [B, S]."""
    assert batch.source is not None and batch.source_lengths is not None
    return torch.arange(batch.source.size(1)) < batch.source_lengths[:, None]
