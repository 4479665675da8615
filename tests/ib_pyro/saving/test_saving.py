"""Programs saved and loaded: bit by bit, in another process, of other types, and refused by name."""

import json
import subprocess
import sys
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import ib_pyro
from ib_pyro import Bottleneck
from ib_pyro.nn import AdditiveNormal, InformationDropout
from ib_pyro.saving import file_header, read_header
from ib_pyro.saving.file_header import packed, unpacked
from models.mlp import MLP
from models.vae import VAE

ROOT = Path(__file__).parents[3]


def make(width=5, **options):
    layers = OrderedDict(
        z1=InformationDropout.linear(6, width, batch_norm=True, **options),
        z2=InformationDropout.linear(width, 4),
    )
    return Bottleneck(nn.Sequential(layers), nn.Linear(4, 3))


def trained(program, *shape):
    """The same with statistics of batch norm, and parameters that are not those of its seed."""
    program(torch.randn(8, *shape))
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return program


def state(program):
    return {name: value.clone() for name, value in program.state_dict().items()}


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        assert torch.equal(value.nan_to_num(7.0), other[name].nan_to_num(7.0)), name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "program.safetensors"


@pytest.mark.parametrize("kind", ["classifier", "mlp", "gaussian vae", "information vae"])
def test_what_is_loaded_is_what_was_saved(path, kind):
    programs = {
        "classifier": (make, (6,)),
        "mlp": (lambda: MLP([8, 8], image_shape=(1, 4, 4)), (1, 4, 4)),
        "gaussian vae": (
            lambda: VAE(latent="gaussian", image_shape=(1, 4, 4), num_latent=3, hidden=8),
            (1, 4, 4),
        ),
        "information vae": (lambda: VAE(image_shape=(1, 4, 4), num_latent=3, hidden=8), (1, 4, 4)),
    }
    new, shape = programs[kind]
    program = trained(new(), *shape)
    before = state(program)
    ib_pyro.save(program, path)
    assert_same_state(state(program), before)
    fresh = new()
    assert ib_pyro.load(path, fresh) is fresh
    assert_same_state(state(fresh), before)
    x = torch.randn(4, *shape)
    results = []
    for each in (program.eval(), fresh.eval()):
        torch.manual_seed(0)
        results.append(each.predict(x, num_samples=3))
    assert torch.equal(*results)


def test_counters_of_batch_norm_are_kept_and_the_mode_is_left(path):
    program = make()
    for _ in range(3):
        program(torch.randn(8, 6))
    ib_pyro.save(program.eval(), path)
    fresh = ib_pyro.load(path, make())
    norm = fresh.encoder.z1.features[1]
    assert int(norm.num_batches_tracked) == 3
    assert fresh.training
    assert not ib_pyro.load(path, make().eval()).training


def test_another_process_loads_it(path):
    arguments = {"hidden": [8, 8], "image_shape": [1, 4, 4], "batch_norm": False}
    program = trained(MLP(**arguments), 1, 4, 4)
    ib_pyro.save(program, path, factory=MLP, arguments=arguments, metadata={"beta": 0.003})
    code = (
        "import sys, torch, ib_pyro\nfrom models.mlp import MLP\n"
        "assert 'models.vae' not in sys.modules\n"
        f"program = ib_pyro.load({str(path)!r}, factory=MLP).eval()\n"
        "print(program.predict(torch.ones(1, 1, 4, 4), num_samples=0).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = program.eval().predict(torch.ones(1, 1, 4, 4), num_samples=0)
    assert torch.equal(torch.tensor(json.loads(done.stdout)), expected)


def test_the_header_says_what_is_in_it(path):
    ib_pyro.save(make(), path, metadata={"beta": 3e-3, "betas": (1, 2), "note": "é"})
    header = read_header(path)
    assert header.program == "Bottleneck"
    assert header.sites == ("z1", "z2")
    assert header.metadata == {"beta": 3e-3, "betas": [1, 2], "note": "é"}
    assert header.versions["ib_pyro"] == ib_pyro.__version__
    assert header.versions["torch"] == torch.__version__.split("+")[0] or header.versions["torch"]
    assert header.versions["pyro-ppl"]
    assert header.shapes["decoder.weight"] == (3, 4)
    assert header.dtypes["encoder.z1.features.1.num_batches_tracked"] == "int64"
    assert header.modules["encoder.z1"]["options"]["alpha_max"] == 0.7


def test_other_programs_read_it_as_a_file_of_tensors(path):
    program = make()
    ib_pyro.save(program, path)
    assert_same_state(load_file(path), state(program))


@pytest.mark.parametrize("name", ["0" * 64, "plain"])
def test_what_looks_like_an_empty_digest_does_no_harm(path, name):
    program = make()
    program.register_buffer(name, torch.ones(2))
    ib_pyro.save(program, path, metadata={"digest": "0" * 64})
    fresh = make()
    fresh.register_buffer(name, torch.zeros(2))
    ib_pyro.load(path, fresh)
    assert_same_state(state(fresh), state(program))


def test_every_damage_is_refused_in_one_line(path):
    program = make()
    ib_pyro.save(program, path)
    whole, generator = path.read_bytes(), torch.Generator().manual_seed(0)
    fresh = make()
    before = state(fresh)

    def draw(n):
        return int(torch.randint(n, (), generator=generator))

    for case in range(200):
        damaged = bytearray(whole)
        if case % 4 == 0:
            damaged = damaged[: draw(len(whole))]
        elif case % 4 == 1:
            damaged += bytes(draw(9) + 1)
        elif case % 4 == 2:
            # The text at the beginning, where most of the meaning is.
            damaged[draw(2000)] ^= 1 << draw(8)
        else:
            damaged[draw(len(whole))] ^= 1 << draw(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="program.safetensors: ") as refused:
            ib_pyro.load(path, fresh)
        assert "\n" not in str(refused.value)
    assert_same_state(state(fresh), before)


def test_spaces_that_mean_nothing_are_part_of_the_file_too(path):
    ib_pyro.save(make(), path)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    text = whole[8 : 8 + length]
    padded = text.replace(b'","', b'", "', 1)[:length] if text.endswith(b" ") else text + b" "
    path.write_bytes(len(padded).to_bytes(8, "little") + padded + whole[8 + length :])
    with pytest.raises(ValueError, match="its SHA-256 differs"):
        read_header(path)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"PK\x03\x04" + bytes(100), b"\xff" * 400, b"\x02" + bytes(7) + b"[]"]
)
def test_foreign_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="program.safetensors: it is no program that ib_pyro.save wrote"):
        ib_pyro.load(path, make())


def rewritten(path, change):
    """Write the file again with another header, and a digest that is right."""
    header, tensors = unpacked(path)[0], load_file(path)
    path.write_bytes(packed(replace(header, **change), tensors))


def test_a_header_of_somebody_else_is_refused(path):
    ib_pyro.save(make(), path)
    rewritten(path, {"shapes": {"absent": (2,)}})
    with pytest.raises(ValueError, match="its tensors are not those of its header"):
        ib_pyro.load(path, make())
    ib_pyro.save(make(), path)
    rewritten(path, {"sites": None})
    with pytest.raises(ValueError, match="its header lacks what ib_pyro.save writes"):
        read_header(path)


def test_what_a_later_version_says_beside_is_passed_over(path, monkeypatch):
    monkeypatch.setattr(file_header, "asdict", lambda header: asdict(header) | {"mood": "sunny"})
    ib_pyro.save(make(), path)
    assert b"sunny" in path.read_bytes()
    assert read_header(path).sites == ("z1", "z2")


def test_files_of_pickle_and_of_tensors_alone_are_refused(path):
    from safetensors.torch import save_file

    torch.save(make().state_dict(), path)
    with pytest.raises(ValueError, match="no program that ib_pyro.save wrote"):
        ib_pyro.load(path, make())
    save_file({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="no program that ib_pyro.save wrote"):
        ib_pyro.load(path, make())
    with pytest.raises(FileNotFoundError):
        ib_pyro.load(path.with_name("absent"), make())


def test_another_shape_is_refused_by_name_and_changes_nothing(path):
    ib_pyro.save(make(), path)
    other = make(width=7)
    before = state(other)
    with pytest.raises(
        ValueError,
        match=r"tensor 'encoder.z1.features.0.weight': shape \(5, 6\) in the file and \(7, 6\) in the program",
    ):
        ib_pyro.load(path, other)
    assert_same_state(state(other), before)


def test_other_tensors_are_refused_by_name(path):
    ib_pyro.save(make(), path)
    other = Bottleneck(AdditiveNormal(nn.Linear(6, 4), nn.Linear(6, 4)), nn.Linear(4, 3))
    with pytest.raises(
        ValueError, match="the program lacks 'encoder.z1.features.0.weight', .* and the file lacks 'enc"
    ):
        ib_pyro.load(path, other)


def test_the_same_tensors_that_mean_something_else_are_refused(path):
    ib_pyro.save(make(), path)
    with pytest.raises(ValueError, match=r"encoder.z1.alpha_max is 0.7 in the file and 0.5 in the program"):
        ib_pyro.load(path, make(alpha_max=0.5))
    ib_pyro.load(path, make(alpha_max=0.5), check_options=False)
    other = make()
    other.likelihood = "bernoulli"
    with pytest.raises(
        ValueError, match=": likelihood is 'categorical' in the file and 'bernoulli' in the program"
    ):
        ib_pyro.load(path, other)
    relu, tanh = (nn.Sequential(nn.Linear(2, 2), each) for each in (nn.ReLU(), nn.Tanh()))
    ib_pyro.save(relu, path)
    with pytest.raises(ValueError, match="module 1 is a ReLU in the file and a Tanh in the program"):
        ib_pyro.load(path, tanh)


def test_types_that_hold_more_are_right_and_those_that_hold_less_are_asked_for(path):
    program = make()
    ib_pyro.save(program, path)
    wide = ib_pyro.load(path, make().double())
    assert_same_state(
        state(wide), {n: v.double() if v.is_floating_point() else v for n, v in state(program).items()}
    )
    with torch.no_grad():
        wide.decoder.bias.add_(1e-12)
    ib_pyro.save(wide, path)
    narrow = make()
    before = state(narrow)
    with pytest.raises(
        ValueError, match=r"'encoder.*': float64 in the file and float32 in the program, which holds less"
    ):
        ib_pyro.load(path, narrow)
    assert_same_state(state(narrow), before)
    ib_pyro.load(path, narrow, convert=True)
    assert torch.equal(narrow.decoder.bias, wide.decoder.bias.float())
    with torch.no_grad():
        wide.decoder.bias[1] = 1e300
    ib_pyro.save(wide, path)
    with pytest.raises(ValueError, match=r"'decoder.bias': .* which does not hold 1e\+300"):
        ib_pyro.load(path, narrow, convert=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=["bf16", "f16", "f64"])
def test_every_precision_is_kept_bit_by_bit(path, dtype):
    program = trained(make(), 6).to(dtype)
    ib_pyro.save(program, path)
    assert_same_state(state(ib_pyro.load(path, make().to(dtype))), state(program))
    widened = ib_pyro.load(path, make().double())
    assert torch.equal(widened.decoder.weight, program.decoder.weight.double())


def test_kinds_of_numbers_are_not_mixed(path):
    class Counted(nn.Module):
        def __init__(self, count):
            super().__init__()
            self.register_buffer("count", count)

    ib_pyro.save(Counted(torch.tensor(300)), path)
    with pytest.raises(ValueError, match="'count': int64 in the file and float32 .* another kind of number"):
        ib_pyro.load(path, Counted(torch.tensor(0.0)), convert=True)
    with pytest.raises(ValueError, match="'count': int64 in the file and int8 .* which does not hold 300"):
        ib_pyro.load(path, Counted(torch.tensor(0, dtype=torch.int8)), convert=True)
    with pytest.raises(ValueError, match="'count': int64 in the file and bool"):
        ib_pyro.load(path, Counted(torch.tensor(False)), convert=True)
    small = ib_pyro.load(path, Counted(torch.tensor(0, dtype=torch.int16)), convert=True)
    assert int(small.count) == 300


class Tied(nn.Module):
    """Two layers of one weight, a view of a larger tensor, an empty one, and a number."""

    def __init__(self, *, tied=True):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        if tied:
            self.other.weight = self.one.weight
        base = torch.arange(12.0).reshape(3, 4)
        self.register_buffer("transposed", base.t())
        self.register_buffer("part", base[:, ::2])
        self.register_buffer("square", torch.arange(9.0).reshape(3, 3))
        self.register_buffer("turned", self.square.t())
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("number", torch.tensor(2.5))
        self.register_buffer("strange", torch.tensor([torch.nan, torch.inf, -0.0]))


def test_shared_strided_empty_and_scalar_tensors(path):
    program = Tied()
    ib_pyro.save(program, path)
    assert read_header(path).shared == {"other.weight": "one.weight"}
    fresh = Tied()
    with torch.no_grad():
        fresh.transposed.zero_()
    ib_pyro.load(path, fresh)
    assert_same_state(state(fresh), state(program))
    assert fresh.other.weight is fresh.one.weight
    assert fresh.transposed.stride() == program.transposed.stride()
    assert torch.signbit(fresh.strange[2])


def test_what_is_one_tensor_must_be_one_in_the_file(path):
    ib_pyro.save(Tied(), path)
    apart = ib_pyro.load(path, Tied(tied=False))
    assert torch.equal(apart.one.weight, apart.other.weight)
    ib_pyro.save(Tied(tied=False), path)
    with pytest.raises(
        ValueError, match="'other.weight': it is 'one.weight' in the program, and another one in the file"
    ):
        ib_pyro.load(path, Tied())


def test_a_layer_in_two_programs_and_twice_in_one(path):
    shared = nn.Linear(4, 4)
    program = nn.Sequential(shared, nn.ReLU(), shared)
    ib_pyro.save(program, path)
    again = nn.Linear(4, 4)
    ib_pyro.load(path, nn.Sequential(again, nn.ReLU(), again))
    assert torch.equal(again.weight, shared.weight)


def test_what_no_file_holds_is_refused_by_name(path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"step": 3}

    with pytest.raises(
        ValueError, match="tensor '0._extra_state': it is a dict, which the module's get_extra_state"
    ):
        ib_pyro.save(nn.Sequential(Extra(2, 2)), path)
    with pytest.raises(ValueError, match="tensor 'weight': it has no shape before the first batch"):
        ib_pyro.save(nn.LazyLinear(3), path)
    with pytest.raises(ValueError, match="tensor 'weight': it is on the device 'meta'"):
        ib_pyro.save(nn.Linear(2, 2, device="meta"), path)
    with pytest.raises(ValueError, match="tensor 'weight': its type complex128"):
        ib_pyro.save(nn.Linear(2, 2, dtype=torch.complex128), path)
    sparse = nn.Module()
    sparse.register_buffer("a", torch.eye(3).to_sparse())
    with pytest.raises(ValueError, match="tensor 'a': it is no dense tensor"):
        ib_pyro.save(sparse, path)
    with pytest.raises(TypeError, match="program must be a module, .* or a pair"):
        ib_pyro.save("program", path)
    with pytest.raises(TypeError, match=r"metadata\['net'\]: JSON holds no Linear"):
        ib_pyro.save(make(), path, metadata={"net": nn.Linear(1, 1)})
    with pytest.raises(TypeError, match="metadata: its key 3 is no string"):
        ib_pyro.save(make(), path, metadata={3: 4})
    assert not path.exists()


def test_a_lazy_module_is_filled(path):
    program = nn.Linear(4, 3)
    ib_pyro.save(program, path)
    lazy = ib_pyro.load(path, nn.LazyLinear(3), check_options=False)
    assert torch.equal(lazy.weight, program.weight)


def test_what_was_there_stays_if_writing_fails(path, monkeypatch):
    ib_pyro.save(make(), path)
    before = path.read_bytes()
    monkeypatch.setattr(
        Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        ib_pyro.save(make(), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_factory_is_called_with_what_was_saved(path):
    program = trained(make(width=7), 6).double()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    ib_pyro.save(program, path, factory=make, arguments={"width": 7})
    loaded = ib_pyro.load(path, factory=make)
    assert torch.equal(torch.rand(1), expected)
    assert_same_state(state(loaded), state(program))
    assert read_header(path).factory.endswith(":make")
    with pytest.raises(
        TypeError, match=r"pass the program to fill, into=..., or factory=.*make, as the file says"
    ):
        ib_pyro.load(path)
    with pytest.raises(TypeError, match="not both"):
        ib_pyro.load(path, make(), factory=make)
    with pytest.raises(ValueError, match=r"shape \(7, 6\) in the file and \(5, 6\) in the program"):
        ib_pyro.load(path, factory=lambda width: make())


def test_a_factory_that_makes_another_program_is_refused_when_saving(path):
    with pytest.raises(
        ValueError, match=r"makes another program of arguments=\{\}: tensor 'encoder.z1.*' is \(7, 6\)"
    ):
        ib_pyro.save(make(width=7), path, factory=make)
    with pytest.raises(ValueError, match="alpha_max is 0.5 in the program and 0.7 in the"):
        ib_pyro.save(make(alpha_max=0.5), path, factory=make)
    with pytest.raises(TypeError, match="arguments: they are those of a factory"):
        ib_pyro.save(make(), path, arguments={"width": 7})
    ib_pyro.save(make(), path)
    with pytest.raises(ValueError, match="factory: no arguments of one were saved"):
        ib_pyro.load(path, factory=make)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_from_one_device_to_another(path):
    program = trained(make(), 6).cuda()
    ib_pyro.save(program, path)
    on_cpu = ib_pyro.load(path, make())
    assert_same_state(state(on_cpu), {name: value.cpu() for name, value in state(program).items()})
    back = ib_pyro.load(path, make().cuda())
    assert_same_state(state(back), state(program))
