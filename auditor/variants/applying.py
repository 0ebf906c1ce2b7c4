"""From a subject and the name of a variant to the variant as a subject; the original stays as it was."""

import copy
from typing import assert_never

import numpy as np
import torch
from torch import nn

from auditor.dataset import Array, Dataset
from auditor.errors import ModelError
from auditor.probe import stratified
from auditor.record import array_digest
from auditor.seeds import Seeds
from auditor.subject import Access, Counted, Subject
from auditor.subjects.torch_subject import TorchSubject

from .layers import REACHED, layers_of, output_axis, weight_of
from .lowered import Lowered
from .names import Variant
from .pruned import prune
from .quantised import quantise

CALIBRATION_ROWS = 512
SCALE_BYTES = 4


class NoVariantError(ModelError):
    """A model that has no variants, and why: it is not asked, rather than in error."""


def applied(subject: Subject, variant: Variant, data: Dataset, root: int) -> TorchSubject:
    """The variant of a subject, made from a copy of its module; inputs are calibrated on training rows.

    These are at most 512, stratified and drawn by the root seed alone, so that every subject has the same ones.

    Raises:
        NoVariantError: the subject is no torch network, or has no layer that can be reached.
        ModelError: the network does not run as this variant.
    """
    network = network_of(subject)
    try:
        module = copy.deepcopy(network.module)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise NoVariantError(f"{type(network.module).__name__} cannot be copied: {error}") from None
    module.requires_grad_(False)
    changed = _changed(module, network, variant, data, root)
    weights = [weight_of(layer).clone() for layer in layers_of(changed)]
    try:
        made = TorchSubject(
            changed,
            classes=network.classes,
            shape=network.shape,
            outputs=network.outputs,
            batch_size=network.batch_size,
            extra_access=network.access & {Access.RECIPE},
            preparation=network.preparation,
            dtype=network.dtype,
        )
    except ModelError as error:
        raise ModelError(f"as {variant.name} the network does not run: {error}") from None
    if any(not torch.equal(w, weight_of(layer)) for w, layer in zip(weights, layers_of(changed), strict=True)):
        raise NoVariantError(f"{type(network.module).__name__} computes its weights anew whenever it is asked")
    if Access.GRADIENTS not in network.access:
        made.access -= {Access.GRADIENTS}
    return made


def network_of(subject: Subject) -> TorchSubject:
    """The torch network behind a subject. Raises NoVariantError where there is none that has layers."""
    inner = subject.inner if isinstance(subject, Counted) else subject
    if not isinstance(inner, TorchSubject) or isinstance(inner.module, torch.jit.ScriptModule):
        kind = type(getattr(inner, "module", inner)).__name__
        raise NoVariantError(f"variants need a torch network whose layers can be reached, and this is a {kind}")
    if not any(isinstance(m, REACHED) for m in inner.module.modules()):
        raise NoVariantError(
            f"{type(inner.module).__name__} has no linear or convolutional layer that can be reached, so no variants"
        )
    return inner


def calibration_rows(data: Dataset, root: int) -> Array:
    """Training rows (n, *shape) by which ranges are found: the same for every subject, seed and variant."""
    rng = Seeds(root).numpy("craft", row="calibration")
    return np.asarray(data.x_train[stratified(data.y_train, CALIBRATION_ROWS, rng)], np.float32)


def state_sha256(module: nn.Module) -> str:
    """Digest of a module's weights and other state."""
    state = [t.detach().cpu() for _, t in sorted(module.state_dict().items())]
    return array_digest(*(t.float().numpy() if t.is_floating_point() else t.numpy() for t in state))


def stored_bytes(module: nn.Module, variant: Variant | None = None) -> int:
    """The bytes of a network's weights and buffers, were they stored as the variant declares.

    Quantised weights take `weight_bits` each, and four bytes of scale an output; in bfloat16 every number takes two
    bytes. Pruning saves nothing, unless a format leaves zeros out.
    """
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    as_they_are = sum(t.numel() * t.element_size() for t in tensors.values())
    if variant is None or variant.kind != "quantised":
        return as_they_are
    saved = 0
    for layer in layers_of(module):
        weight = weight_of(layer)
        packed = -(-weight.numel() * variant.weight_bits // 8) + SCALE_BYTES * weight.shape[output_axis(layer)]
        saved += weight.numel() * weight.element_size() - packed
    return as_they_are - saved


def _changed(module: nn.Module, network: TorchSubject, variant: Variant, data: Dataset, root: int) -> nn.Module:
    module.eval()
    match variant.kind:
        case "quantised":
            prepared = network.preparation.inputs(calibration_rows(data, root))
            rows = torch.tensor(prepared, dtype=network.dtype, device=network.device)
            batches = torch.split(rows, network.batch_size)
            quantise(module, variant.weight_bits, variant.activation_bits, batches)
        case "pruned":
            prune(module, variant.pruned)
        case "lowered":
            return Lowered(module)
        case _:
            assert_never(variant.kind)
    return module
