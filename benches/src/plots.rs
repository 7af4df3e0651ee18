//! Plots, as SVG: cost against descriptors, throughput and latency against connections.

use std::error::Error;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use crate::plan::Work;
use crate::report::Results;

/// How wide a plot is, and how much of that its curves have; the rest is the legend's.
const SIZE: (u32, u32) = (960, 560);
const CURVES: u32 = 800;

/// A curve's colour for each subject: ours in blues, the limit black, the peers in what is left.
const COLOURS: [(&str, RGBColor); 13] = [
    ("epoll", RGBColor(0, 70, 200)),
    ("epoll-lt", RGBColor(60, 140, 240)),
    ("poll", RGBColor(120, 180, 250)),
    ("select", RGBColor(170, 200, 230)),
    ("raw", RGBColor(0, 0, 0)),
    ("mio", RGBColor(230, 120, 0)),
    ("polling", RGBColor(240, 130, 190)),
    ("async-io", RGBColor(190, 160, 0)),
    ("calloop", RGBColor(120, 80, 30)),
    ("tokio", RGBColor(220, 30, 30)),
    ("libevent", RGBColor(0, 140, 60)),
    ("libev", RGBColor(120, 200, 60)),
    ("libuv", RGBColor(150, 40, 170)),
];

/// One figure of all subjects, against a number.
struct Plot<'a> {
    title: &'a str,
    across: &'a str,
    up: &'a str,
    metric: &'a str,
    /// Whether the upright axis is logarithmic.
    is_logarithmic: bool,
    /// The number of a work that belongs to this plot.
    number: fn(&Work) -> Option<usize>,
}

/// The points of one subject's curve.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

fn watched(work: &Work) -> Option<usize> {
    match work {
        Work::Dispatch { pipes } => Some(*pipes),
        _ => None,
    }
}

fn connections(work: &Work) -> Option<usize> {
    match work {
        Work::Echo { connections, size: 64, depth: 1 } => Some(*connections),
        _ => None,
    }
}

fn connections_at_depth(work: &Work) -> Option<usize> {
    match work {
        Work::Echo { connections, size: 64, depth: 16 } => Some(*connections),
        _ => None,
    }
}

const ECHO: &str = "Echo, 64 bytes, one message under way on each connection";
const ECHO_DEPTH: &str = "Echo, 64 bytes, 16 messages under way on each connection";

const fn echo_plot(metric: &'static str, up: &'static str, is_logarithmic: bool) -> Plot<'static> {
    Plot { title: ECHO, across: "connections", up, metric, is_logarithmic, number: connections }
}

/// The plots for which there are figures, with the names of their files.
///
/// # Errors
/// When one can not be drawn.
pub fn all(
    results: &Results<'_>,
) -> Result<Vec<(&'static str, String)>, Box<dyn Error + Send + Sync>> {
    let dispatch = Plot {
        title: "Dispatch: the cost of an event, 100 active",
        across: "descriptors watched",
        up: "ns of processor time for each event (log)",
        metric: "ns_per_event",
        is_logarithmic: true,
        number: watched,
    };
    let cpu = "ns of server time for each message (log)";
    let depth = Plot {
        title: ECHO_DEPTH,
        number: connections_at_depth,
        ..echo_plot("server_ns", cpu, true)
    };
    let plots = [
        ("dispatch.svg", dispatch),
        ("echo-cpu.svg", echo_plot("server_ns", cpu, true)),
        ("echo-cpu-depth-16.svg", depth),
        ("echo-throughput.svg", echo_plot("per_second", "messages a second", false)),
        ("echo-p99.svg", echo_plot("p99_us", "p99 in us (log)", true)),
    ];
    let mut drawn = Vec::new();
    for (name, plot) in plots {
        let curves = plot.curves(results);
        // A single number makes no curve.
        if curves.iter().any(|curve| curve.points.len() > 1) {
            let svg = plot.draw(&curves).map_err(|error| format!("{name}: {error}"))?;
            drawn.push((name, svg));
        }
    }
    Ok(drawn)
}

impl Plot<'_> {
    fn curves(&self, results: &Results<'_>) -> Vec<Curve> {
        let works = results.works();
        let curve = |name: &'static str| {
            let points = works.iter().filter_map(|work| {
                let number = (self.number)(work)? as f64;
                Some((number, results.summary(work, name, self.metric)?.median))
            });
            Curve { name, points: points.collect() }
        };
        let curves = COLOURS.into_iter().map(|(name, _)| curve(name));
        curves.filter(|curve| !curve.points.is_empty()).collect()
    }

    fn draw(&self, curves: &[Curve]) -> Result<String, Box<dyn Error>> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            root.fill(&WHITE)?;
            let (left, right) = root.split_horizontally(CURVES);
            let points = || curves.iter().flat_map(|curve| curve.points.iter());
            let bounds = |of: fn(&(f64, f64)) -> f64| {
                points()
                    .map(of)
                    .fold((f64::INFINITY, 0.0_f64), |(min, max), it| (min.min(it), max.max(it)))
            };
            let (across, up) = (bounds(|it| it.0), bounds(|it| it.1));
            let mut builder = ChartBuilder::on(&left);
            builder.caption(self.title, ("sans-serif", 20)).margin(12);
            builder.x_label_area_size(44).y_label_area_size(84);
            // A little beyond the last number, so that its label stands once.
            let across = (across.0..across.1 * 1.1).log_scale();
            if self.is_logarithmic {
                let up = (up.0 * 0.9..up.1 * 1.1).log_scale();
                self.draw_curves(builder.build_cartesian_2d(across, up)?, curves)?;
            } else {
                let up = 0.0..up.1 * 1.1;
                self.draw_curves(builder.build_cartesian_2d(across, up)?, curves)?;
            }
            draw_legend(&right, curves)?;
            root.present()?;
        }
        Ok(svg)
    }

    fn draw_curves<'b, X, Y>(
        &self,
        mut chart: ChartContext<'b, SVGBackend<'b>, Cartesian2d<X, Y>>,
        curves: &[Curve],
    ) -> Result<(), Box<dyn Error>>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let number = |value: &f64| format!("{value:.0}");
        chart
            .configure_mesh()
            .x_desc(self.across)
            .y_desc(self.up)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .light_line_style(WHITE)
            .draw()?;
        // Ours is the first and drawn last, so that no other hides it.
        for curve in curves.iter().rev() {
            let style = colour(curve.name).stroke_width(width(curve.name));
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), style).point_size(3))?;
        }
        Ok(())
    }
}

fn colour(name: &str) -> RGBColor {
    COLOURS.iter().find(|(known, _)| *known == name).map_or(BLACK, |(_, colour)| *colour)
}

/// What the comparison is about stands out.
fn width(name: &str) -> u32 {
    if ["epoll", "raw"].contains(&name) { 3 } else { 1 }
}

fn draw_legend(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    for (place, curve) in curves.iter().enumerate() {
        let y = 60 + i32::try_from(place)? * 24;
        let style = colour(curve.name).stroke_width(width(curve.name).max(2));
        area.draw(&PathElement::new([(8, y), (36, y)], style))?;
        area.draw(&Text::new(curve.name, (44, y - 8), ("sans-serif", 16)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject;

    #[test]
    fn whoever_is_plotted_has_a_colour_of_its_own() {
        let echo = Work::Echo { connections: 50, size: 64, depth: 1 };
        for subject in subject::ALL.iter().filter(|it| it.does(&echo)) {
            let found = COLOURS.iter().filter(|(name, _)| *name == subject.name).count();
            assert_eq!(found, 1, "{} has no curve, or two", subject.name);
            let of_it = colour(subject.name);
            let alike = COLOURS.iter().filter(|(_, colour)| *colour == of_it).count();
            assert_eq!(alike, 1, "{} looks like another", subject.name);
        }
    }
}
