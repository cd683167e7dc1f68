// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of what may come between: the device, CPUs and tunables come, go and
 * change under load, and devices are suspended. Hints work after it, and every
 * capture and page is accounted for.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "page_hinting_load.h"

#define CPU_ONLINE	"/sys/devices/system/cpu/cpu1/online"
#define PM_TEST		"/sys/power/pm_test"
#define PM_STATE	"/sys/power/state"
#define PM_DELAY	"/sys/module/suspend/parameters/pm_test_delay"

static int test_unbind(void)
{
	struct hints before;
	char name[64], *mem;
	int err;

	if (!find_balloon(name, sizeof(name)))
		return KSFT_SKIP;
	if (!toggle(BALLOON_DIR "unbind", name, BALLOON_DIR "bind", name))
		return KSFT_FAIL;
	mem = touch(STEP, MADV_NOHUGEPAGE);
	if (!settle(&before))
		return KSFT_FAIL;
	err = write_text(BALLOON_DIR "unbind", name);
	munmap(mem, STEP);
	err = write_text(BALLOON_DIR "bind", name) ?: err;
	/* It may be another host: all free memory is told, old and new. */
	if (err || !expect_reported(&before,
				    percent(meminfo_bytes("MemFree"), 80)))
		return KSFT_FAIL;
	return pass_if(hints_arrive());
}

static int test_cpu_offline(void)
{
	if (access(CPU_ONLINE, W_OK))
		return KSFT_SKIP;
	return pass_if(toggle(CPU_ONLINE, "0", CPU_ONLINE, "1") &&
		       hints_arrive());
}

static void run_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		ksft_exit_fail_perror("sched_setaffinity");
}

/* A CPU goes with captures that have not aged: others see to them. */
static int test_cpu_backlog(void)
{
	unsigned long least = get_tunable("min_age_ms");
	struct hints before;
	size_t blocks;
	bool good;
	char *mem;

	if (access(CPU_ONLINE, W_OK))
		return KSFT_SKIP;
	run_on(1);
	mem = touch_blocks(STEP);
	good = settle(&before);
	blocks = free_in_blocks();
	set_tunable("min_age_ms", 10000);
	munmap(mem, STEP);
	run_on(0);
	good &= !write_text(CPU_ONLINE, "0") && reported_since(&before) < STEP / 2;
	set_tunable("min_age_ms", least);
	good = good && merged_and_told(&before, blocks, STEP);
	good &= !write_text(CPU_ONLINE, "1");
	return pass_if(good);
}

/* As far as pm_test goes: nothing is switched off. */
static int suspend_to(const char *state)
{
	char states[128] = "";
	int err = 0, i;
	bool lived;

	read_text(PM_STATE, states, sizeof(states));
	if (!strstr(states, state) || write_text(PM_TEST, "devices"))
		return KSFT_SKIP;
	write_text(PM_DELAY, "1");
	start_churn();
	for (i = 0; i < 2 && !err; i++) {
		sleep_ms(200);
		err = write_text(PM_STATE, state);
	}
	lived = stop_churn();
	write_text(PM_TEST, "none");
	if (err)
		ksft_print_msg("%s: %s\n", state, strerror(-err));
	return pass_if(!err && lived && hints_arrive());
}

static int test_suspend(void)
{
	char states[128] = "";

	read_text(PM_STATE, states, sizeof(states));
	return suspend_to(strstr(states, "mem") ? "mem" : "freeze");
}

static int test_hibernation(void)
{
	return suspend_to("disk");
}

static int test_toggle(void)
{
	return pass_if(toggle(HINT_DIR "enabled", "0", HINT_DIR "enabled", "1") &&
		       hints_arrive());
}

static int test_order(void)
{
	char order[8];

	snprintf(order, sizeof(order), "%lu", get_tunable("order"));
	return pass_if(toggle(HINT_DIR "order", "4", HINT_DIR "order", order) &&
		       hints_arrive());
}

static int test_entries(void)
{
	return pass_if(toggle(HINT_DIR "capture_entries", "4",
			      HINT_DIR "capture_entries", "1024") &&
		       hints_arrive());
}

static const struct test tests[] = {
	{ "the balloon goes and comes", test_unbind },
	{ "enabled goes off and on", test_toggle },
	{ "the order changes", test_order },
	{ "the arrays change", test_entries },
	{ "a CPU goes and comes", test_cpu_offline },
	{ "a CPU goes with its captures", test_cpu_backlog },
	{ "devices are suspended", test_suspend },
	{ "devices are frozen for hibernation", test_hibernation },
};

int main(void)
{
	ksft_print_header();
	require_hinting();
	run_tests(tests, ARRAY_SIZE(tests));
}
