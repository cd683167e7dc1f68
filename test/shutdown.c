// SPDX-License-Identifier: GPL-2.0
/*
 * The guest is shut down while the host has some of its memory: the run ends
 * with that, or the time it may take is up.
 */
#define _GNU_SOURCE
#include "host.h"
#include "page_hinting_util.h"

int main(void)
{
	long deadline = now_ms() + PATIENCE_MS;
	unsigned long kib;

	ksft_print_header();
	require_hinting();
	ksft_set_plan(1);
	set_fault("hold");
	munmap(touch(STEP, MADV_NOHUGEPAGE), STEP);
	do
		kib = get_tunable("inflight_kb");
	while (!kib && now_ms() < deadline);
	ksft_test_result(kib, "%lu KiB are in flight\n", kib);
	ksft_finished();
}
