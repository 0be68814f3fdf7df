"""Layers whose parameters are sharded: each process has a part of them, and all of them while the layer runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.plugins import one_line
from forwardforward._utils.shards import is_sharded, name_failures, whole
from forwardforward.distributed.ranks import Ranks
from forwardforward.layers import FFLayer
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential

__all__ = ["ShardedGradients", "ShardedLayers", "can_shard", "check_shardable"]

#: Hooks of modules that `fully_shard` adds to those of the parameters, and that nothing removes.
HOOKS = ("_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")


def can_shard(device: torch.device) -> bool:
    """Return whether this version of torch can shard parameters on a device, of which some are left out.

    Args:
        device: The device.
    """
    works = device.type != "cpu" or hasattr(torch.cpu.Stream, "record_event")
    return works and "ignored_params" in inspect.signature(fully_shard).parameters


def check_shardable(network: FFSequential, ranks: Ranks) -> None:
    """Check that the layers can be sharded.

    Args:
        network: The network.
        ranks: The processes.

    Raises:
        ValueError: If torch is too old, a layer's parameters have several dtypes, or two layers share one.
    """
    if not can_shard(ranks.device):
        raise ValueError(f"shard=True needs a newer torch, such as 2.13, for its fully_shard, got {torch.__version__}")
    places: dict[nn.Parameter, int] = {}
    for index, layer in enumerate(network.stack):
        dtypes = {p.dtype for p in layer.parameters()}
        if len(dtypes) > 1:
            names = ", ".join(sorted(map(str, dtypes)))
            raise ValueError(f"the parameters of layer {index} must have one dtype to be sharded, got {names}")
        for name, parameter in layer.named_parameters():
            if places.setdefault(parameter, index) != index:
                raise ValueError(
                    f"{name} of layer {index} must not be a parameter of layer {places[parameter]} too to be sharded"
                )


class ShardedLayers:
    """The layers of a network, of whose parameters each process has a part.

    A layer's parameters are gathered before it runs. They are freed in training when its gradients are summed, else
    before the next layer runs, so that at most one layer's are gathered at once, or those of one group of layers.
    Parameters that are single numbers, such as learned thresholds, are not sharded.

    Args:
        network: The network.
        optimizer: Its local optimizers, whose states are sharded too.
        ranks: The processes.

    Raises:
        ValueError: If the optimizer cannot update sharded parameters.
    """

    def __init__(self, network: FFSequential, optimizer: LocalOptimizer, ranks: Ranks) -> None:
        self.network = network
        self._ranks = ranks
        name_failures(ranks.naming_failures)
        ranks.add_connected(self)
        self._mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        self._check_optimizer(optimizer)
        self._hooks = [
            (hooks, set(hooks))
            for module in network.layers.modules()
            for hooks in (getattr(module, name) for name in HOOKS)
        ]
        self._units: list[Any] = []
        #: Module and name of each sharded parameter, and its layer.
        self._places: dict[Tensor, tuple[nn.Module, str, int]] = {}
        self._bytes: list[int] = []
        self._handles = []
        #: Layers that are gathered, and those of them that have run without a gradient.
        self._gathered: set[int] = set()
        self._passed: set[int] = set()
        for index, layer in enumerate(network.stack):
            self._units.append(_sharded(layer, self._mesh))
            shards: list[Any] = []
            for module, name, parameter in _sharded_parameters(layer):
                self._places[parameter] = module, name, index
                shards.append(parameter)
            self._bytes.append(sum(int(shard.to_local().nbytes) for shard in shards))
            self._handles.append(layer.register_forward_pre_hook(self._hook(index), prepend=True))
        optimizer.attach(network)

    def _hook(self, index: int) -> Any:
        def gather(layer: nn.Module, inputs: Any) -> None:
            self._free(self._passed - {index})
            if torch.is_grad_enabled():
                self._passed.discard(index)
            else:
                self._passed.add(index)
            if index not in self._gathered:
                self._gathered.add(index)
                self._ranks.count("parameters", self._bytes[index])
                with self._ranks.naming_failures():
                    self._units[index].unshard()

        return gather

    def begin_sum(self, parameters: Sequence[nn.Parameter]) -> ShardedGradients:
        """Begin to sum the gradients of sharded parameters over the processes, and free their layers.

        Args:
            parameters: The parameters of layers that have run.
        """
        sums: list[tuple[nn.Parameter, Any]] = []
        for parameter in parameters:
            module, name, _ = self._places[parameter]
            gathered: Any = module._parameters[name]
            if gathered.grad is None:
                continue
            self._ranks.count("gradients", gathered.grad.nbytes)
            with self._ranks.naming_failures():
                of_process = DTensor.from_local(gathered.grad.contiguous(), self._mesh, [Partial()], run_check=False)
                sums.append((parameter, of_process.redistribute(placements=[Shard(0)], async_op=True)))
            gathered.grad = None
        self._free({self._places[parameter][2] for parameter in parameters})
        return ShardedGradients(self._ranks, sums)

    def free(self) -> None:
        """Free the gathered parameters of all layers."""
        self._free(set(self._gathered))

    def _free(self, layers: set[int]) -> None:
        for index in layers:
            self._units[index].reshard()
        self._gathered -= layers
        self._passed -= layers

    def collect(self) -> None:
        """Give all processes the whole parameters, which are not sharded any more."""
        self.free()
        collected: dict[Tensor, nn.Parameter] = {}  # a parameter may have several places in its layer
        for layer in self.network.stack:
            for module, name, parameter in _sharded_parameters(layer):
                if parameter not in collected:
                    value = whole(parameter.detach())
                    collected[parameter] = nn.Parameter(value, requires_grad=parameter.requires_grad)
                setattr(module, name, collected[parameter])
        self._remove_hooks()

    def drop(self) -> None:
        """Forget the process group after an error, since its connections end with the last reference to it."""
        self._remove_hooks()
        getattr(self._mesh, "_pg_registry", {}).clear()  # the parameters contain the mesh

    def _remove_hooks(self) -> None:
        """Remove the hooks of this class and of `fully_shard`."""
        for handle in self._handles:
            handle.remove()
        for hooks, names in self._hooks:
            for name in set(hooks) - names:
                del hooks[name]
        self._units.clear()

    def _check_optimizer(self, optimizer: LocalOptimizer) -> None:
        """Try an update of sharded parameters, which torch does not support for all optimizers."""
        probe = _Probe(self._mesh, self._ranks.size)
        try:
            trial = LocalOptimizer(optimizer.factory, others=optimizer.others, **optimizer.options).attach(probe)
            for parameter in probe.parameters():
                parameter.grad = torch.zeros_like(parameter)
            trial.step()
        except Exception as error:
            hint = "; leave fused=True out" if optimizer.options.get("fused") else ""
            raise ValueError(
                f"optimizer must update sharded parameters, got {describe(optimizer.factory)}: {one_line(error)}{hint}"
            ) from error


class ShardedGradients:
    """Sums of the gradients of sharded parameters over the processes.

    Args:
        ranks: The processes.
        sums: The parameters, and the sums that have begun.
    """

    def __init__(self, ranks: Ranks, sums: Sequence[tuple[nn.Parameter, Any]]) -> None:
        self._ranks = ranks
        self._sums = sums

    def wait(self) -> None:
        """Wait for the sums, and store each process's part in the parameters."""
        for parameter, gradient in self._sums:
            local: Any = gradient.to_local()
            with self._ranks.naming_failures():
                local = local.wait() if hasattr(local, "wait") else local
            parameter.grad = DTensor.from_local(
                local, gradient.device_mesh, gradient.placements, run_check=False, shape=parameter.shape,
                stride=parameter.stride(),
            )  # fmt: skip


class _Unit(nn.Module):
    """What `fully_shard` changes the class of, so that the layer keeps its own; it is not called."""

    def __init__(self, layer: FFLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> None:
        """Not called."""
        raise NotImplementedError


class _Probe(nn.Module):
    """Sharded parameters of which an update is tried."""

    def __init__(self, mesh: Any, size: int) -> None:
        super().__init__()
        for name, shape in (("weight", (2 * size, 2)), ("bias", (2 * size,))):
            value = torch.zeros(shape, device=mesh.device_type)
            self.register_parameter(name, nn.Parameter(distribute_tensor(value, mesh, [Shard(0)])))

    def parameter_groups(self) -> dict[str, nn.Module]:
        """Return the parameters."""
        return {"0": self}


def _sharded(layer: FFLayer, mesh: Any) -> Any:
    """Shard the parameters of a layer, and return what gathers and frees them."""
    numbers = {p for p in layer.parameters() if not p.dim()}
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.data = parameter.data.contiguous()
    return fully_shard(_Unit(layer), mesh=mesh, reshard_after_forward=False, ignored_params=numbers)


def _sharded_parameters(layer: FFLayer) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Iterate over the modules, names and values of a layer's sharded parameters."""
    for module in layer.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and is_sharded(parameter):
                yield module, name, parameter
