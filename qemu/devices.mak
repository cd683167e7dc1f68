# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a hinting guest, its tests and its measurements need, and no more.

CONFIG_Q35=y
CONFIG_PCI_DEVICES=n
CONFIG_PCIE_PORT=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BALLOON=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_ISA_DEBUG=y
