"""Tables of what tools/analysis_tools/benchmark.py measured."""
import math

from rich.table import Table


def table(figures: dict) -> Table:
    grid = Table(title=f'{figures["config"]}, {figures["machine"]["device"]}', show_header=False, title_justify='left')
    grid.add_row('batch', f'{figures["processes"]} x {figures["batch_size"]} images of {figures["img_size"]} pixels, '
                          f'{"synthetic" if figures["synthetic"] else figures["data"]}')
    for name, system in figures['systems'].items():
        rates = system['images_per_s']
        grid.add_row(f'images/s, {name}', f'{system["median"]:.4g} ({min(rates):.4g} to {max(rates):.4g} in {len(rates)} turns)')
    grid.add_section()
    overhead = figures['runner_over_bare_time']
    title = "Runner's JPEGs" if figures['data'] else 'Runner'
    grid.add_row(f'time, {title} / bare loop', ratio_text(overhead))
    if 'changed_over_bare_time' in figures:
        grid.add_row('time, changed / bare loop', ratio_text(figures['changed_over_bare_time']))
    for name, ratio in figures.get('speedup_over_peer', {}).items():
        grid.add_row(f'times faster, {name} than {figures["vs"]}', ratio_text(ratio))
    grid.add_section()
    if figures['seconds_by_part']:
        whole = sum(figures['seconds_by_part'].values())
        for name, seconds in figures['seconds_by_part'].items():
            grid.add_row(f'ms a step, {name}', f'{1000 * seconds:.2f} ({100 * seconds / whole:.1f} %)')
    if figures['data']:
        grid.add_row('ms a step, waited for the loader', f'{1000 * figures["waited_for_loader_s"]:.2f}')
        grid.add_row('loader, images/s of a core', f'{figures["loader"]["images_per_core_s"]:.1f}')
    grid.add_section()
    share = ''.join(f', {100 * figures[key]:.1f} % of {what}' for key, what in (
        ('share_of_peak', 'the bfloat16 peak'), ('share_of_what_matrix_products_reach', 'what matrix products reach'))
        if key in figures)
    if 'tflops' in figures:
        work = figures['step_gflops_per_image']
        grid.add_row('TFLOP/s a process', f'{figures["tflops"]:.3g}{share} ({work:.1f} GFLOPs an image)')
    used = figures['memory']
    each = f', {used["bytes_per_image"] / 1e6:.0f} MB an image' if 'bytes_per_image' in used else ''
    grid.add_row(f'peak memory, {used["of"]}', f'{used["bytes"] / 2**30:.2f} GiB{each}')
    return grid


def ratio_text(ratio: dict) -> str:
    return f'{ratio["median"]:.3f} ({ratio["min"]:.3f} to {ratio["max"]:.3f}, pair by pair)'


def scaling_table(figures: dict) -> Table:
    cost = dict(tokens='ms an image', batch='ms a step', processes='images/s')[figures['scaling']]
    title = f'{figures["config"]}, {figures["machine"]["device"]}: {cost} ~ {figures["scaling"]}^{figures["exponent"]:.2f}'
    grid = Table(figures['scaling'], cost, 'images/s', 'GFLOPs an image', title=title, title_justify='left')
    for row in figures['rows']:
        work = row['step_gflops_per_image'] or math.nan
        grid.add_row(f'{row["size"]}', f'{row["cost"]:.4g}', f'{row["images_per_s"]:.4g}', f'{work:.1f}')
    return grid
