/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM page_hinting

#if !defined(_TRACE_PAGE_HINTING_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PAGE_HINTING_H

#include <linux/tracepoint.h>

TRACE_EVENT(page_hinting_isolate,

	TP_PROTO(unsigned long pfn, unsigned int order),

	TP_ARGS(pfn, order),

	TP_STRUCT__entry(
		__field(unsigned long,	pfn)
		__field(unsigned int,	order)
	),

	TP_fast_assign(
		__entry->pfn	= pfn;
		__entry->order	= order;
	),

	TP_printk("pfn=0x%lx order=%u", __entry->pfn, __entry->order)
);

TRACE_EVENT(page_hinting_return,

	TP_PROTO(unsigned long pfn, unsigned int order, int err),

	TP_ARGS(pfn, order, err),

	TP_STRUCT__entry(
		__field(unsigned long,	pfn)
		__field(unsigned int,	order)
		__field(int,		err)
	),

	TP_fast_assign(
		__entry->pfn	= pfn;
		__entry->order	= order;
		__entry->err	= err;
	),

	TP_printk("pfn=0x%lx order=%u err=%d", __entry->pfn, __entry->order,
		  __entry->err)
);

TRACE_EVENT(page_hinting_report,

	TP_PROTO(unsigned int nents, int err),

	TP_ARGS(nents, err),

	TP_STRUCT__entry(
		__field(unsigned int,	nents)
		__field(int,		err)
	),

	TP_fast_assign(
		__entry->nents	= nents;
		__entry->err	= err;
	),

	TP_printk("blocks=%u err=%d", __entry->nents, __entry->err)
);

#endif /* _TRACE_PAGE_HINTING_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
