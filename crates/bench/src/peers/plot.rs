//! The plot of throughput ratios, as SVG written by hand: bars need no library.

use super::results::Results;
use super::servers::{Target, VALKEY_JEMALLOC};
use super::workloads::DATASETS;

const WIDTH: f64 = 900.0;
const LABEL_WIDTH: f64 = 330.0;
const BAR_HEIGHT: f64 = 11.0;
const BAR_PITCH: f64 = 13.0;
const GROUP_GAP: f64 = 12.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 24.0;
/// Room for the figure behind the longest bar.
const FIGURE_WIDTH: f64 = 60.0;
/// One for each server, in their order.
const COLOURS: [&str; 6] = ["#7bc8a4", "#1a936f", "#bf4342", "#e08e79", "#8c7aa9", "#9aa5b1"];

/// Bars of every workload and server; nothing when nothing was measured.
pub(super) fn ratios(targets: &[Target], results: &Results) -> Option<String> {
    let mut groups = Vec::new();
    for workload in DATASETS.iter().flat_map(|dataset| dataset.workloads) {
        let bars: Vec<(usize, f64)> = targets
            .iter()
            .enumerate()
            .filter_map(|(index, target)| Some((index, results.ratio(workload.name, target.name)?)))
            .collect();
        if !bars.is_empty() {
            groups.push((workload, bars));
        }
    }
    let longest = groups.iter().flat_map(|(_, bars)| bars).map(|(_, ratio)| *ratio).max_by(f64::total_cmp)?;
    let scale = (WIDTH - LABEL_WIDTH - FIGURE_WIDTH) / longest.max(1.0);
    let mut body = String::new();
    let mut y = TOP;
    for (workload, bars) in &groups {
        let middle = y + bars.len() as f64 * BAR_PITCH / 2.0 + 4.0;
        body += &format!(
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\n",
            LABEL_WIDTH - 10.0,
            escaped(workload.title)
        );
        let limit = LABEL_WIDTH + workload.limit.at_least * scale;
        if limit < WIDTH {
            let end = y + bars.len() as f64 * BAR_PITCH;
            body += &format!(
                "<line x1=\"{limit:.1}\" x2=\"{limit:.1}\" y1=\"{y:.1}\" y2=\"{end:.1}\" stroke=\"#222\" stroke-dasharray=\"3 2\"/>\n"
            );
        }
        for (index, ratio) in bars {
            body += &bar(*ratio, y, scale, COLOURS[index % COLOURS.len()]);
            y += BAR_PITCH;
        }
        y += GROUP_GAP;
    }
    let height = y + BOTTOM;
    let one = LABEL_WIDTH + scale;
    let line =
        format!("<line x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{TOP:.1}\" y2=\"{y:.1}\" stroke=\"#888\"/>\n");
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">Throughput over {}, one server thread, medians (dashed: at least)</text>\n\
         {}{line}{body}</svg>\n",
        escaped(VALKEY_JEMALLOC),
        legend(targets)
    ))
}

fn bar(ratio: f64, y: f64, scale: f64, colour: &str) -> String {
    let length = ratio * scale;
    format!(
        "<rect x=\"{LABEL_WIDTH}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\">{ratio:.2}</text>\n",
        LABEL_WIDTH + length + 4.0,
        y + BAR_HEIGHT - 1.5
    )
}

fn legend(targets: &[Target]) -> String {
    let entry = |(index, target): (usize, &Target)| {
        let x = 12.0 + index as f64 * 145.0;
        let colour = COLOURS[index % COLOURS.len()];
        format!(
            "<rect x=\"{x}\" y=\"40\" width=\"11\" height=\"11\" fill=\"{colour}\"/><text x=\"{}\" y=\"50\">{}</text>\n",
            x + 16.0,
            escaped(target.name)
        )
    };
    targets.iter().enumerate().map(entry).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
