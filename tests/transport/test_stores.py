"""The stores within a process and in the message: the same promises as the ring's."""

import numpy as np
import pytest

from stream.transport import InlineStore, LocalStore, StoreError
from stream.transport.headers import SlotRef

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.fixture(params=[lambda: LocalStore(2), InlineStore], ids=["local", "inline"])
def store(request):
    return request.param()


def test_what_is_put_comes_back_read_only(store):
    ref = store.put({"image": IMAGE, "low": np.ones((2, 3), np.float16)}, "tracker")
    found = store.get(ref, "tracker")
    np.testing.assert_array_equal(found["image"], IMAGE)
    assert found["low"].dtype == np.float16
    assert not found["image"].flags.writeable
    assert store.pass_on(ref, "tracker", "publisher")
    np.testing.assert_array_equal(store.get(ref, "publisher")["image"], IMAGE)
    assert store.release(ref, "publisher")


def test_a_full_local_store_says_so_until_a_lease_ends():
    store = LocalStore(2)
    first = store.put({"image": IMAGE}, "tracker")
    store.put({"image": IMAGE}, "tracker")
    assert store.put({"image": IMAGE}, "tracker") is None
    store.pass_on(first, "tracker", "publisher")
    with pytest.raises(StoreError, match="not leased to tracker"):
        store.get(first, "tracker")
    assert store.put({"image": IMAGE}, "tracker") is None
    store.release(first, "publisher")
    assert not store.release(first, "publisher")
    assert store.put({"image": IMAGE}, "tracker") is not None


def test_an_inline_store_refuses_other_references():
    with pytest.raises(StoreError, match="tracker got SlotRef where pixels were to be inline"):
        InlineStore().get(SlotRef(0, 1, ()), "tracker")


def test_how_full_a_store_is():
    store = LocalStore(2)
    assert store.usage() == (0, 2)
    ref = store.put({"image": IMAGE}, "tracker")
    assert store.usage() == (1, 2)
    store.release(ref, "tracker")
    assert store.usage() == (0, 2)
    assert InlineStore().usage() is None
