-- A report as pandoc reads it: pandoc -f report.lua -t html5 (or typst) < job.json
--
-- The job names the target and lists items in reading order: Markdown texts, listings, what code
-- printed, figures and tables. Labels, numbers, references and citations are resolved over the
-- whole of it. What is wrong is written to stderr, a line each after "report:". Whatever is not plain
-- Markdown is inert: raw HTML becomes text, unknown links lose their target, and attributes are
-- never passed on.

local job, html, raw, item  -- item: the one at work, for problems
local dialect = "commonmark+smart+pipe_tables+strikeout+tex_math_dollars+autolink_bare_uris"
local options = pandoc.WriterOptions { html_math_method = "mathml", wrap_text = "none" }
local here = pandoc.path.directory(PANDOC_SCRIPT_FILE)

local function problem(text)
  io.stderr:write("report:" .. (item.at .. ": " .. text):gsub("%s+", " ") .. "\n")
end

local function write(blocks)
  return (pandoc.write(pandoc.Pandoc(blocks), html and "html5" or "typst", options)
    :gsub("%s+$", ""))
end
local function quoted(text)  -- a Typst string: nothing in it can end the string
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n"):gsub("\t", "    ") .. '"'
end
local function escaped(text)
  return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;"):gsub('"', "&quot;"))
end
local function block(markup) return pandoc.RawBlock(raw, markup) end
local function plain(text)  -- for the template: text in HTML, a string in Typst
  return pandoc.Inlines { pandoc.RawInline(raw, html and escaped(text) or quoted(text)) }
end

-- Reading ---------------------------------------------------------------------------------------

-- A caption or a table cell is one line of text even if it looks like a list: the invisible first
-- character keeps block syntax from starting.
local joiner = "\u{2060}"
local function read_line(text)
  local blocks = pandoc.read(joiner .. text:gsub("%s+", " "), dialect).blocks
  local inlines = pandoc.utils.blocks_to_inlines(blocks)
  local first = inlines[1]
  if first and first.t == "Str" then first.text = first.text:gsub("^" .. joiner, "") end
  return inlines
end

-- Citations: a link to a paper of refs.bib gets a number, in order of appearance ------------------

-- One key per paper, its abstract or its PDF, with or without a version.
local function address(url)
  return (url:gsub("/pdf/", "/abs/"):gsub("%.pdf$", ""):gsub("v%d+$", ""):gsub("/$", ""))
end
local papers, cited, numbers = {}, pandoc.List(), {}
local function open_bibliography()
  local file = assert(io.open(pandoc.path.join { here, "refs.bib" }))
  for _, paper in ipairs(pandoc.utils.references(pandoc.read(file:read("a"), "bibtex"))) do
    local url = paper.url or paper.URL
    if url then papers[address(pandoc.utils.stringify(url))] = paper.id end
  end
  file:close()
end

local function citation(key)
  if not numbers[key] then
    cited:insert(key)
    numbers[key] = #cited
  end
  return pandoc.Link({ pandoc.Str("[" .. numbers[key] .. "]") }, "#ref-" .. key)
end

local render = {}

function render.References()
  local cites = cited:map(function(key)
    return pandoc.Cite({}, { pandoc.Citation(key, "NormalCitation") })
  end)
  local document = pandoc.utils.citeproc(pandoc.Pandoc({ pandoc.Para(cites) }, {
    bibliography = pandoc.path.join { here, "refs.bib" },
    csl = pandoc.path.join { here, "references.csl" }, ["link-citations"] = false,
  }))
  return document.blocks:walk {
    Para = function(el) return el.content[1].t == "Cite" and {} or nil end,
    Link = function(link)
      local shown = link.target:gsub("^https://arxiv.org/abs/", "arXiv:")
        :gsub("^https://doi.org/", "doi:")
      return pandoc.Link({ pandoc.Str(shown) }, link.target)
    end,
  }
end

-- Labels ------------------------------------------------------------------------------------------

local labels = {}        -- "notebook#label" -> { kind, number, id, title, times }
local headings = pandoc.List()
local function enter(label, target)
  local key = item.notebook .. "#" .. label
  local earlier = labels[key]
  if not earlier then
    target.times = 1
    labels[key] = target
  elseif target.kind == "Section" and earlier.kind == "Section" then
    earlier.times = earlier.times + 1  -- a fault if a link leads there
  else
    problem("the label " .. label .. " is there twice")
  end
end

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- [Figure](#losses), [Section](02_gan.ipynb#The-data): a word that names the kind gets the number.
local words = { Figure = true, Table = true, Section = true }
local function reference(el)
  local file, label = el.target:match("^([^#]*)#?(.*)$")
  file, label = decoded(file), decoded(label)
  local notebook = file == "" and item.notebook or job.names[file:match("([^/]*)$")]
  local target = notebook and labels[notebook .. "#" .. label]
  if file == "" then target = target or labels["#" .. label] end
  if not target or target.times > 1 then
    problem("the link " .. el.target .. (target and " leads to two places" or " leads nowhere"))
    return el.content
  end
  local text = pandoc.utils.stringify(el.content)
  local word = text:gsub("s$", "")
  if not words[word] then return pandoc.Link(el.content, "#" .. target.id) end
  if word ~= target.kind then
    problem("the link " .. el.target .. " says " .. word .. " and leads to a " .. target.kind:lower())
  end
  if word == "Section" then text = target.word or text end
  local shown = target.number == "" and target.title or text .. "\u{a0}" .. target.number
  return pandoc.Link({ pandoc.Str(shown) }, "#" .. target.id)
end

-- First pass over a text: nothing but plain Markdown passes ----------------------------------------

local harmless = {
  RawInline = function(el)
    if el.text:match("^<!%-%-") then return {} end
    if el.text:match("^<br%s*/?>$") then return pandoc.LineBreak() end
    return pandoc.Str(el.text)
  end,
  RawBlock = function(el)
    if el.text:match("^%s*<!%-%-.*%-%->%s*$") then return {} end
    return pandoc.Para { pandoc.Str(el.text) }
  end,
  Str = function(el)
    if el.text:match("^\\begin{") then problem("mathematics without dollar signs: " .. el.text) end
  end,
  Span = function(el) return el.content end,
  Div = function(el) return el.content end,
  Code = function(el) return pandoc.Code(el.text) end,
  CodeBlock = function(el)
    local language = el.classes[1] and el.classes[1]:match("^[%w+-]+$")
    return pandoc.CodeBlock(el.text, pandoc.Attr("", language and { language } or {}))
  end,
  Image = function(el)
    problem("the picture " .. el.src .. " is in a text: only run.figure brings pictures")
  end,
  Link = function(el)
    local target = el.target
    local paper = papers[address(target)]
    if paper then
      return { pandoc.Link(el.content, target), pandoc.Str("\u{a0}"), citation(paper) }
    elseif target:match("^https?://") or target:match("^mailto:") then
      return pandoc.Link(el.content, target)
    elseif target:match("^%a[%w+.-]*:") then
      return el.content  -- javascript:, data:, file: and their like
    elseif target:match("^#") or target:match("%.ipynb#") or target:match("%.ipynb$") then
      return reference(el)
    end
    problem("the link " .. target .. " leads to a file: link to what the report holds, or the web")
  end,
}

-- Second pass: mathematics --------------------------------------------------------------------------

-- pandoc 3.9 writes names that Typst 0.15 no longer has, rounds small spaces to whole ems, puts
-- the limits of an operator with a space in its name at the side, and makes \big( a mere symbol.
local renamed = {
  { "(%a+)%.circle", "%1.o" }, { "%f[%w]sect%f[%W]", "inter" }, { "#h%(%-1em%)", "#h(-0.17em)" },
  { "#h%(0em%)", "thick" },
  { '"arg m(%a+)"_', 'op("arg m%1", limits: #true)_' },
}

-- \| is a relation to pandoc (as in the Kullback-Leibler divergence); followed by ^ or _ it closes
-- a norm, and the one before it opens that norm.
local function norms(tex)
  return (tex:gsub("\\|", "\1"):gsub("\1([^\1]*)\1(%s*[_^])", "\\lVert %1\\rVert %2")
    :gsub("\1", "\\|"))
end

-- MathML has no thin space around the name of a function, as in 2 log p; a bracket with an exponent
-- does not grow unless it is in a row of its own; and a star is not a raised asterisk.
local space = '<mspace width="0.167em"/>'
local name, apply = '<mrow><mi mathvariant="normal">%a+</mi>', "<mo>&#8289;</mo>"
local function spaced(markup)
  return (markup:gsub("(<m[us]%a+>" .. name .. ")" .. apply .. "(</mrow>.-</m[us]%a+>)", "%1%2" .. space)
    :gsub("(" .. apply .. "</mrow>)(<m[^o])", "%1" .. space .. "%2")
    :gsub("([%w>]</m[sni]%l*>)(" .. name .. ")", "%1" .. space .. "%2")
    :gsub("(</munder>)(<m[^o])", "%1" .. space .. "%2")
    :gsub("(<ms[^>]*>)(<mo minsize[^>]*>[^<]*</mo>)", "%1<mrow>%2</mrow>")
    :gsub("<mo>%*</mo>", "<mo>∗</mo>"))
end

local function mathematics(el)
  local markup = write { pandoc.Plain { pandoc.Math(el.mathtype, norms(el.text)) } }
  if html and not markup:match("^<math") or not html and not markup:match("^%$") then
    problem("mathematics that pandoc cannot read: " .. el.text)
    return pandoc.Code(el.text)
  end
  if html then return pandoc.RawInline(raw, spaced(markup)) end
  for _, pair in ipairs(renamed) do markup = markup:gsub(pair[1], pair[2]) end
  markup = markup:gsub("#scale%(x: (%d+)%%, y: %d+%%%)%[(.-)%]%f[^%]]", function(percent, mark)
    return "lr(" .. mark .. ", size: #" .. percent / 100 .. "em)"
  end)
  local display = el.mathtype == "DisplayMath"
  local equation = "math.equation(block: " .. tostring(display) .. ", alt: " .. quoted(el.text)
    .. ", " .. markup .. ")"
  local short = not display and #el.text < 40  -- stays on one line
  return pandoc.RawInline(raw, short and "#box(" .. equation .. ");" or "#" .. equation .. ";")
end

local typeset = { Math = mathematics }

-- Items: what each becomes --------------------------------------------------------------------------

local function heading(el)
  local entry = headings[tonumber(el.attributes.entry)]
  if not entry then return {} end
  entry.inlines = el.content
  if html then
    local number = entry.label ~= "" and { pandoc.Span({ pandoc.Str(entry.label) },
      pandoc.Attr("", { "number" })), pandoc.Space() } or {}
    return pandoc.Header(math.min(entry.level + 1, 6), pandoc.Inlines(number) .. el.content, entry.id)
  end
  local numbering = entry.label ~= "" and '(..) => "' .. entry.label .. '"' or "none"
  return block("#heading(level: " .. entry.level .. ", numbering: " .. numbering .. ")["
    .. write { pandoc.Plain(el.content) } .. "] <" .. entry.id .. ">")
end

local function scrolling(el)
  return html and pandoc.Div({ el }, pandoc.Attr("", { "scroll" }, { tabindex = "0" })) or el
end

local function line(text) return read_line(text):walk(harmless):walk(typeset) end
local function caption(it)
  local label = pandoc.Strong { pandoc.Str(it.kind .. "\u{a0}" .. it.number .. ".") }
  return pandoc.Inlines { label, pandoc.Space() } .. line(it.caption)
end

function render.Text(it)
  return it.blocks:walk(harmless):walk(typeset):walk { Header = heading, Table = scrolling }
end

function render.Code(it)
  local code = pandoc.CodeBlock(it.text, pandoc.Attr("", { it.language }))
  if not it.title then return { code } end
  if not html then return { block("#code-title(" .. quoted(it.title) .. ")"), code } end
  if it.folded then
    local names = pandoc.List(it.labels):map(function(label)
      local target = labels[it.notebook .. "#" .. label]
      return target.kind .. "\u{a0}" .. target.number
    end)
    local title = #names > 0 and "Code of " .. table.concat(names, ", ") or it.title
    local shown = pandoc.Blocks { block('<details class="code"><summary>' .. escaped(title)
      .. "</summary>"), code }
    if it.printed ~= "" then
      shown:insert(pandoc.CodeBlock(it.printed, pandoc.Attr("", { "stdout" })))
    end
    return shown .. { block("</details>") }
  end
  local title = block('<p class="title">' .. escaped(it.title) .. "</p>")
  return { pandoc.Div({ title, code }, pandoc.Attr("", { "listing" })) }
end

function render.Figure(it)
  local under = write { pandoc.Plain(caption(it)) }
  if not html then
    return { block("#picture(" .. quoted(it.src) .. ", " .. it.page_inches .. "in, alt: "
      .. quoted(it.alt) .. ", caption: [" .. under .. "]) <" .. it.id .. ">") }
  end
  return { block('<figure id="' .. it.id .. '"><img src="' .. it.src
    .. ('" alt="%s" width="%d" height="%d"'):format(escaped(it.alt), it.width, it.height)
    .. ' style="width: ' .. it.inches .. 'in"><figcaption>' .. under .. "</figcaption></figure>") }
end

function render.Table(it)
  local function cells(texts)
    return pandoc.List(texts):map(function(text) return { pandoc.Plain(line(text)) } end)
  end
  local sides = pandoc.List(it.align):map(function(side) return "Align" .. side end)
  local above = caption(it)
  local widths = not html and it.widths[1] and it.widths or sides:map(function() return 0 end)
  local el = pandoc.utils.from_simple_table(pandoc.SimpleTable(html and {} or above, sides,
    pandoc.List(widths), cells(it.columns), pandoc.List(it.rows):map(cells)))
  el.bodies[1].row_head_columns = 1
  if html then  -- the caption does not scroll
    return { block('<figure class="table ' .. it.size .. '" id="' .. it.id .. '"><figcaption>'
      .. write { pandoc.Plain(above) } .. "</figcaption>"), scrolling(el), block("</figure>") }
  end
  el.identifier = it.id
  local rule = #it.rows > 16 and "show figure: set block(breakable: true)"  -- its head is repeated
    or "set figure(placement: auto)"
  return { block("#[#" .. rule), el, block("]") }
end

-- Numbering: first through all items, because a reference may point forward -------------------------

local counts = { section = 0, appendix = 0, sub = 0, level = 0, Figure = 0, Table = 0 }
local taken = {}

local function enter_heading(el)
  local depth, text = el.level, pandoc.utils.stringify(el.content)
  local label = text:gsub(" ", "-")
  if depth > counts.level + 1 then
    problem("the heading “" .. text .. "” skips a level")
    depth = counts.level + 1
  end
  counts.level = depth
  local numbered, number, word, shown = item.numbering ~= "none", "", nil, ""
  if numbered and depth == 1 then
    counts.sub = 0
    if item.numbering == "appendix" then
      counts.appendix = counts.appendix + 1
      number, word = string.char(64 + counts.appendix), "Appendix"
      shown = "Appendix " .. number
    else  -- "Problem 2: a GAN" is section 2, and says so itself
      local stated = text:match("^Problem (%d+)")
      counts.section = tonumber(stated) or counts.section + 1
      number, word = tostring(counts.section), stated and "Problem" or "Section"
      shown = stated and "" or number
    end
    counts.top = number
  elseif numbered then
    if depth == 2 then counts.sub = counts.sub + 1 end
    number = counts.sub > 0 and counts.top .. "." .. counts.sub or counts.top
    shown = depth == 2 and number or ""
  end
  local id = "section-" .. number:lower():gsub("%.", "-")
  if depth > 2 or not numbered then
    id = "part-" .. text:lower():gsub("[^%w]+", "-"):gsub("^%-*(.-)%-*$", "%1")
  end
  while taken[id] do id = id .. "-x" end
  taken[id] = true
  local target = { kind = "Section", number = number, word = word, id = id, title = text }
  if depth == 1 and not labels[item.notebook .. "#"] then enter("", target) end
  enter(item.notebook == "" and label:lower() or label, target)
  headings:insert { level = depth, label = shown, id = id }
  return pandoc.Header(depth, el.content, pandoc.Attr("", {}, { entry = tostring(#headings) }))
end

local function number(it)
  if it.kind == "Text" then
    it.blocks = pandoc.read(it.text, dialect).blocks:walk { Header = enter_heading }
  elseif it.label then
    it.number = it.label:match("^figure%-([1-6])$")
    if not it.number or it.kind == "Table" then
      counts[it.kind] = counts[it.kind] + 1
      it.number = (it.kind == "Figure" and "S" or "") .. counts[it.kind]
    end
    it.id = it.kind:lower() .. "-" .. it.number:lower()
    enter(it.label, { kind = it.kind, number = it.number, id = it.id })
  end
end

local function contents()
  local level, out = 0, headings:filter(function(entry) return entry.level <= 2 end)
  local steps = { ["01"] = "<ol>", ["02"] = "<ol><li><ol>", ["12"] = "<ol>", ["21"] = "</li></ol></li>" }
  local items = out:map(function(entry)
    local step = steps[level .. entry.level] or "</li>"
    level = entry.level
    local label = entry.label ~= "" and '<span class="number">' .. entry.label .. " </span>" or ""
    return step .. '\n<li class="level-' .. level .. '"><a href="#' .. entry.id .. '">' .. label
      .. write { pandoc.Plain(entry.inlines) } .. "</a>"
  end)
  return table.concat(items) .. ("</li></ol>"):rep(level)
end

function Reader(input)
  job = pandoc.json.decode(tostring(input), false)
  html = job.target == "html5"
  raw = html and "html" or "typst"
  open_bibliography()
  for _, it in ipairs(job.items) do
    item = it
    number(it)
  end
  local body, abstract = pandoc.Blocks {}, pandoc.Blocks {}
  for _, it in ipairs(job.items) do
    item = it
    local part = it.abstract and abstract or body
    if not html then part:insert(block("// at: " .. it.at)) end
    part:extend(render[it.kind](it))
  end
  local front, strip = job.front, pandoc.List {}
  for _, it in ipairs(job.items) do  -- Figures 1, 5 and 6 stand on the PDF's title page too
    if not html and it.kind == "Figure" and it.number:match("^[156]$") then
      strip:insert("image(" .. quoted(it.src) .. ", width: 100%)")
    end
  end
  local function all(texts) return pandoc.List(texts):map(plain) end
  return pandoc.Pandoc(body, {
    pagetitle = plain(front.title), subtitle = plain(front.subtitle), date = plain(front.date),
    strip = strip:map(function(image) return pandoc.Inlines { pandoc.RawInline(raw, image) } end),
    authors = all(front.authors), notices = all(front.notices),
    abstract = abstract, contents = html and pandoc.Blocks { block(contents()) } or nil,
  })
end
