-- Markdown to HTML or Typst for a whole report, in one process: pandoc lua markup.lua < job.json
--
-- The job names the target and lists fragments (Markdown cells, captions, table cells) in reading
-- order. The answer holds each fragment's markup, the headings, the reference list in order of
-- first citation, the local files that are mentioned, and everything that was found wrong.
-- Whatever is not plain Markdown is inert here: raw HTML becomes text, unknown links lose their
-- target, and attributes are never passed on.

local job = pandoc.json.decode(io.read("a"), false)
local html = job.target == "html"
local raw = html and "html" or "typst"
local dialect = "commonmark+smart+pipe_tables+strikeout+tex_math_dollars+autolink_bare_uris"
local options = pandoc.WriterOptions { html_math_method = "mathml", wrap_text = "none" }

local headings, references, files, problems, title = {}, {}, {}, {}, ""
local current            -- number of the fragment at work, for problems
local function problem(text)
  problems[#problems + 1] = { fragment = current - 1, text = text }
end

local function write(blocks)
  return (pandoc.write(pandoc.Pandoc(blocks), html and "html5" or "typst", options)
    :gsub("%s+$", ""))
end
local function write_inlines(inlines) return write { pandoc.Plain(inlines) } end
local function quoted(text)
  text = text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"') .. '"'
end
local function link_to(id, inlines)
  local inner = write_inlines(inlines)
  local markup = html and '<a href="#' .. id .. '">' .. inner .. "</a>"
    or "#link(<" .. id .. ">)[" .. inner .. "];"
  return pandoc.RawInline(raw, markup)
end

-- Reading ---------------------------------------------------------------------------------------

-- Display mathematics goes on one line: a line in it that begins with -, + or = would be read as a
-- list or a heading. A bare LaTeX environment, which JupyterLab accepts, gets its dollar signs.
local stars = { align = "aligned", gather = "gathered", equation = "" }
local function join_mathematics(text)
  local out, open, fence = {}, nil, nil
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    local mark = line:match("^%s*(```+)") or line:match("^%s*(~~~+)")
    if not open and mark then
      if not fence then fence = mark
      elseif mark:sub(1, #fence) == fence then fence = nil end
      out[#out + 1] = line
    elseif fence then
      out[#out + 1] = line
    elseif open then
      open.lines[#open.lines + 1] = line
    else
      local name = line:match("^%s*\\begin{(%a+)%*?}")
      if line:match("^%s*%$%$") and not line:match("^%s*%$%$.*%$%$") then
        open = { stop = "%$%$", lines = { line } }
      elseif stars[name] then
        open = { stop = "\\end{" .. name .. "%*?}", name = name, lines = { line } }
      else
        out[#out + 1] = line
      end
    end
    if open and (open.name or #open.lines > 1) and open.lines[#open.lines]:match(open.stop) then
      local joined = table.concat(open.lines, " ")
      if open.name then
        local inner = stars[open.name]
        joined = joined:gsub("\\begin{" .. open.name .. "%*?}",
            "$$" .. (inner ~= "" and "\\begin{" .. inner .. "}" or ""))
          :gsub("\\end{" .. open.name .. "%*?}",
            (inner ~= "" and "\\end{" .. inner .. "}" or "") .. "$$")
      end
      out[#out + 1] = joined
      open = nil
    end
  end
  for _, line in ipairs(open and open.lines or {}) do out[#out + 1] = line end
  return table.concat(out, "\n")
end

-- A caption or a table cell is one line of text even if it looks like a list: the invisible first
-- character keeps block syntax from starting.
local joiner = "\u{2060}"
local function read(fragment)
  if not fragment.inline then
    return pandoc.read(join_mathematics(fragment.text), dialect).blocks
  end
  local text = fragment.text:gsub("%s+", " ")
  local blocks = pandoc.read(joiner .. text, dialect).blocks
  local inlines = pandoc.utils.blocks_to_inlines(blocks)
  local first = inlines[1]
  if first and first.t == "Str" then first.text = first.text:gsub("^" .. joiner, "") end
  return pandoc.Blocks { pandoc.Plain(inlines) }
end

-- References ------------------------------------------------------------------------------------

-- One key per paper however it is linked: http or https, abs or pdf, with or without a version.
local function address(url)
  return (url:gsub("^http:", "https:"):gsub("^https://www%.", "https://")
    :gsub("^https://arxiv%.org/pdf/", "https://arxiv.org/abs/"):gsub("%.pdf$", "")
    :gsub("^(https://arxiv%.org/abs/[%d.]+)v%d+$", "%1")
    :gsub("^https://dx%.doi", "https://doi"):gsub("/$", ""))
end

local papers = {}
for _, paper in ipairs(pandoc.utils.references(pandoc.read(job.bibliography, "bibtex"))) do
  if paper.url then papers[address(pandoc.utils.stringify(paper.url))] = paper end
  if paper.URL then papers[address(pandoc.utils.stringify(paper.URL))] = paper end
end

local function text_of(field) return field and pandoc.utils.stringify(field) or nil end

local function author(name)
  if name.literal then return text_of(name.literal) end
  local given = text_of(name.given) or ""
  local initials = given:gsub("%.", ""):gsub("([^%s%-])[^%s%-]*", function(letter)
    return letter .. "."
  end)
  return given == "" and text_of(name.family)
    or pandoc.text.sub(initials, 1) .. "\u{a0}" ..
      (name["dropping-particle"] and text_of(name["dropping-particle"]) .. " " or "") ..
      (name["non-dropping-particle"] and text_of(name["non-dropping-particle"]) .. " " or "") ..
      text_of(name.family)
end

-- "D. P. Kingma and M. Welling. Auto-encoding variational Bayes. In ICLR, 2014. arXiv:1312.6114."
local function reference(paper)
  local names = pandoc.List(paper.author or {}):map(author)
  local last = table.remove(names)
  local authors = #names == 0 and last
    or table.concat(names, ", ") .. (#names > 1 and "," or "") .. " and " .. last
  local where = ""
  if paper["container-title"] then
    where = paper.type == "paper-conference" and " In " or " "
    where = where .. text_of(paper["container-title"])
    if paper.volume then
      where = where .. "\u{a0}" .. text_of(paper.volume) ..
        (paper.issue and "(" .. text_of(paper.issue) .. ")" or "") ..
        (paper.page and ":" .. text_of(paper.page):gsub("%-", "–") or "")
    end
    where = where .. ","
  end
  local url = text_of(paper.URL or paper.url)
  local arxiv, doi = url:match("arxiv%.org/abs/(.+)$"), url:match("doi%.org/(.+)$")
  local shown = arxiv and "arXiv:" .. arxiv or doi and "doi:" .. doi or url
  return write_inlines {
    pandoc.Str(authors .. ". "), pandoc.Emph(text_of(paper.title)),
    pandoc.Str("." .. where .. " " .. math.tointeger(paper.issued["date-parts"][1][1]) .. ". "),
    pandoc.Link({ pandoc.Str(shown) }, url), pandoc.Str("."),
  }
end

local numbers = {}       -- key of a paper -> its number
local function citation(paper)
  if not numbers[paper.id] then
    local number = #references + 1
    numbers[paper.id] = number
    references[number] = { id = "reference-" .. number, markup = reference(paper) }
  end
  local number = numbers[paper.id]
  return link_to("reference-" .. number, { pandoc.Str("[" .. number .. "]") })
end

-- First pass over a fragment: nothing but plain Markdown passes --------------------------------

local function anchor(text)
  return (text:lower():gsub("[^%w]+", "-"):gsub("^%-*(.-)%-*$", "%1"))
end
local anchors = {}       -- notebook and heading -> identifier in the report

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
  Span = function(el) return el.content end,
  Div = function(el) return el.content end,
  Code = function(el) return pandoc.Code(el.text) end,
  CodeBlock = function(el)
    local language = el.classes[1] and el.classes[1]:match("^[%w+-]+$")
    return pandoc.CodeBlock(el.text, pandoc.Attr("", language and { language } or {}))
  end,
  Image = function(el)
    local alt = pandoc.utils.stringify(el.caption)
    if alt == "" then problem("the picture " .. el.src .. " has no alt text") end
    files[#files + 1] = { fragment = current - 1, image = true, target = el.src, alt = alt }
    return pandoc.Str("\u{e000}" .. #files - 1 .. "\u{e001}")
  end,
  Link = function(el)
    local target = el.target
    local paper = papers[address(target)]
    if paper then
      local link = pandoc.Link(el.content, target)
      return { link, pandoc.Str("\u{a0}"), citation(paper) }
    elseif target:match("^https?://") or target:match("^mailto:") then
      return pandoc.Link(el.content, target)
    elseif target:match("^#") then
      local id = anchors[job.fragments[current].notebook .. anchor(target)]
      if id or job.labels[target:sub(2)] then
        return link_to(id or target:sub(2), el.content)
      end
      problem("the link " .. target .. " leads nowhere")
      return el.content
    elseif target:match("^%a[%w+.-]*:") then
      return el.content  -- javascript:, data:, file: and their like
    end
    local section = job.notebooks[target:match("([^/]*)$")]
    if section then return link_to(section, el.content) end
    files[#files + 1] = { fragment = current - 1, image = false, target = target }
    return el.content
  end,
}

-- Second pass: mathematics and cross references ------------------------------------------------

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
  local tokens, solid, open = {}, {}, nil  -- solid: positions of the tokens that are not spaces
  local i = 1
  while i <= #tex do
    local token = tex:match("^\\%a+", i) or tex:match("^\\.", i) or tex:sub(i, i)
    tokens[#tokens + 1] = token
    if token:match("%S") then solid[#solid + 1] = #tokens end
    i = i + #token
  end
  for k, position in ipairs(solid) do
    local before, after = tokens[solid[k - 1]] or "", tokens[solid[k + 1]] or ""
    local sized = before == "\\left" or before == "\\right" or before:match("^\\[bB]igg?[lr]?$")
    if tokens[position] == "\\|" and not sized then
      if open and (after == "^" or after == "_") then
        tokens[open], tokens[position], open = "\\lVert ", "\\rVert ", nil
      else
        open = position
      end
    end
  end
  return table.concat(tokens)
end

-- MathML has no thin space between the name of a function and its argument (log p, min_G max_D V),
-- and to Typst \operatorname is upright text like any other.
local functions = { operatorname = true }
local named = "arg cos cov det dim exp inf lim ln log max min Pr sin sup tanh"
for name in (html and named or ""):gmatch("%a+") do functions[name] = true end
local function spaced(tex)
  local out, i = {}, 1
  while i <= #tex do
    local name = tex:match("^\\(%a+)", i)
    local stop = i + (name and #name or tex:match("^\\.", i) and 1 or 0)
    if functions[name] then
      stop = stop + #(name == "operatorname" and tex:match("^%*?%s*%b{}", stop + 1) or "")
      while true do  -- limits and powers belong to the name
        local script = tex:match("^%s*[_^]%s*%b{}", stop + 1)
          or tex:match("^%s*[_^]%s*\\%a+", stop + 1) or tex:match("^%s*[_^]%s*[^\\{]", stop + 1)
        if not script then break end
        stop = stop + #script
      end
      out[#out + 1] = tex:sub(i, stop)
      local command = tex:match("^%s*\\(%a+)", stop + 1)
      if tex:match("^%s*%w", stop + 1)
          or command and not command:match("^left") and not command:match("^[bB]ig") then
        out[#out + 1] = "\\, "
      end
    else
      out[#out + 1] = tex:sub(i, stop)
    end
    i = stop + 1
  end
  return table.concat(out)
end

local function mathematics(el)
  local tex = norms(el.text)
  local markup = write_inlines { pandoc.Math(el.mathtype, spaced(tex)) }
  local original = el.text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;")
  markup = markup:gsub("(<annotation[^>]*>).-(</annotation>)", function(start, stop)
    return start .. original .. stop
  end)
  if html and not markup:match("^<math") or not html and not markup:match("^%$") then
    problem("mathematics that pandoc cannot read: " .. el.text)
    return pandoc.Code(el.text)
  end
  if not html then
    for _, pair in ipairs(renamed) do markup = markup:gsub(pair[1], pair[2]) end
    markup = markup:gsub("#scale%(x: (%d+)%%, y: %d+%%%)%[(.-)%]%f[^%]]", function(percent, mark)
      return "lr(" .. mark .. ", size: #" .. percent / 100 .. "em)"
    end)
    markup = "#math.equation(block: " .. tostring(el.mathtype == "DisplayMath") .. ", alt: "
      .. quoted(el.text) .. ", " .. markup .. ");"
  end
  return pandoc.RawInline(raw, markup)
end

local kinds = {
  Figure = "figure-", Figures = "figure-", Table = "table-", Tables = "table-",
  Section = "section-", Sections = "section-", Appendix = "appendix-",
}
local function target_of(kind, number)
  local id = kind .. number:gsub("%.", "-"):lower()
  -- "Section 2" in a notebook is a section of the report, not of that notebook
  if job.labels[id] and not (job.single and kind == "section-") then return id end
  if not job.single then
    problem(kind:sub(1, 1):upper() .. kind:sub(2, -2) .. " " .. number .. " does not exist")
  end
end

-- "Table 1 of Lucic et al." and "Figure 4 in [a paper]" belong to somebody else.
local function foreign(inlines, i)
  local word, after = inlines[i + 2], inlines[i + 4]
  if not word or word.t ~= "Str" or not after then return false end
  return word.text == "of" and not (after.t == "Str" and after.text:match("^this"))
    or word.text == "in" and after.t == "Link"
end

local joins = { [","] = true, ["and"] = true, ["or"] = true, ["to"] = true }
local function spaces(el) return el and (el.t == "Space" or el.t == "SoftBreak") end

-- Words such as "Figure 3", "Figures 3, 4 and 5" or "(Section 2.1)" become links.
local function cross_references(inlines)
  local out, i = pandoc.List(), 1
  while i <= #inlines do
    local el = inlines[i]
    local before, word = (el.t == "Str" and el.text or ""):match("^(.-)(%u%l+)$")
    local kind = word and not before:match("%w$") and kinds[word]
    local pattern = kind == "appendix-" and "^(%u)(.*)$" or "^(%d[%d.]*)(.*)$"
    local number = kind and spaces(inlines[i + 1]) and inlines[i + 2] and inlines[i + 2].t == "Str"
      and inlines[i + 2].text:match(pattern)
    if number and not foreign(inlines, i + 2) then
      local many, label = word:match("s$"), word .. "\u{a0}"
      if before ~= "" then out:insert(pandoc.Str(before)) end
      i = i + 2
      while true do  -- once for each number of a list
        local text, rest = inlines[i].text:match(pattern)
        local dot = text:match("%.+$") or ""
        text = text:sub(1, #text - #dot)
        local id = target_of(kind, text)
        out:insert(id and link_to(id, { pandoc.Str(label .. text) }) or pandoc.Str(label .. text))
        local second, tail = rest:match("^[-–]+(%d+)(.*)$")
        if second then
          local other = target_of(kind, second)
          out:insert(pandoc.Str("–"))
          out:insert(other and link_to(other, { pandoc.Str(second) }) or pandoc.Str(second))
          rest = tail
        end
        if dot .. rest ~= "" then out:insert(pandoc.Str(dot .. rest)) end
        i, label = i + 1, ""
        -- ", 4" or " and 5" goes on with the list
        local j = i
        local comma = dot .. rest == ","
        if spaces(inlines[j]) and inlines[j + 1] and inlines[j + 1].t == "Str"
            and joins[inlines[j + 1].text] and spaces(inlines[j + 2]) then
          comma, j = true, j + 2
        end
        local next_number = inlines[j + 1]
        if not (many and comma and spaces(inlines[j]) and next_number and next_number.t == "Str"
            and next_number.text:match(pattern)) then
          break
        end
        for k = i, j do out:insert(inlines[k]) end
        i = j + 1
      end
    elseif spaces(el) and i > 1 and inlines[i - 1].t == "Str" and inlines[i - 1].text:match("%d$")
        and inlines[i + 1] and inlines[i + 1].t == "Str" and inlines[i + 1].text:match("^%%") then
      out:insert(pandoc.Str("\u{a0}"))  -- no line begins with the percent sign of a number
      i = i + 1
    else
      out:insert(el)
      i = i + 1
    end
  end
  return pandoc.Inlines(out), true
end

local linked = {
  traverse = "topdown",
  Inlines = cross_references,
  Math = mathematics,
  Link = function(el) return el, false end,
}

-- Third pass: blocks ---------------------------------------------------------------------------

local function heading(el)
  local entry = el.attributes.entry and headings[tonumber(el.attributes.entry)]
  if not entry then return {} end
  local inner = write_inlines(el.content)
  if entry.level <= 2 then entry.markup = inner end
  if html then
    local tag = "h" .. math.min(entry.level + 1, 6)
    local word = entry.level == 1 and entry.number:match("%u") and "Appendix " or ""
    local number = entry.number ~= "" and '<span class="number">' .. word .. entry.number ..
      "</span> " or ""
    return pandoc.RawBlock(raw, "<" .. tag .. ' id="' .. entry.id .. '">' .. number .. inner ..
      "</" .. tag .. ">")
  end
  local numbering = entry.number ~= "" and '(..) => "' .. entry.number .. '"' or "none"
  -- No figure floats past the next heading of the contents.
  local start = entry.level == 1 and not job.single and "#new-section\n"
    or entry.level <= 2 and "#place.flush()\n" or ""
  return pandoc.RawBlock(raw, start .. "#heading(level: " .. entry.level .. ", numbering: " ..
    numbering .. ")[" .. inner .. "] <" .. entry.id .. ">")
end

local function row(cells)
  local out = pandoc.List(cells):map(function(cell) return "[" .. write(cell) .. "], " end)
  return "(" .. table.concat(out) .. ")"
end
local function pipe_table(el)
  if html then
    return { pandoc.RawBlock(raw, '<div class="scroll" tabindex="0">'), el,
      pandoc.RawBlock(raw, "</div>") }
  end
  local simple = pandoc.utils.to_simple_table(el)
  local sides = { AlignRight = "right", AlignCenter = "center" }
  local align = simple.aligns:map(function(side) return (sides[side] or "left") .. ", " end)
  local rows = pandoc.List(simple.rows):map(row)
  return pandoc.RawBlock(raw, "#plain-table(align: (" .. table.concat(align) .. "), columns: " ..
    row(simple.headers) .. ", " .. table.concat(rows, ", ") .. ")")
end

local fences = 0
local function fence(el)
  if html then
    fences = fences + 1 -- pandoc numbers code from 1 again in every fragment: ids must differ
    el.identifier = "code-" .. fences
    return el
  end
  local text = el.text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n"):gsub("\t", "    ")
  return pandoc.RawBlock(raw, '#fence("' .. text .. '", "' .. (el.classes[1] or "text") .. '")')
end

local blocks = { Header = heading, Table = pipe_table, CodeBlock = fence }

-- Numbering: first through all fragments, because a reference may point forward -----------------

local section, appendix, sub, level = 0, 0, 0, 0
local taken = {}
local function enter(el, fragment)
  local depth = el.level
  local text = pandoc.utils.stringify(el.content)
  if job.single then
    if depth == 1 and title == "" then
      title = text
      return
    end
    depth = math.max(depth - 1, 1)
  end
  if depth > level + 1 then
    problem("the heading “" .. text .. "” skips a level")
    depth = level + 1
  end
  level = depth
  local number, id = "", ""
  local style = fragment.numbering or "section"
  if style == "section" and depth == 1 then
    section, sub = section + 1, 0
    number, id = tostring(section), "section-" .. section
  elseif style == "appendix" and depth == 1 then
    appendix, sub = appendix + 1, 0
    number, id = string.char(64 + appendix), "appendix-" .. string.char(96 + appendix)
  elseif depth == 2 and style ~= "none" then
    sub = sub + 1
    local top = style == "appendix" and string.char(64 + appendix) or tostring(section)
    number, id = top .. "." .. sub, (style == "appendix" and "appendix-" or "section-") ..
      top:lower() .. "-" .. sub
  else
    id = "part-" .. anchor(text)
    while taken[id] or id == "part-" do id = id .. "-x" end
  end
  taken[id] = true
  job.labels[id] = true
  anchors[fragment.notebook .. anchor(text)] = id
  headings[#headings + 1] = { level = depth, number = number, id = id }
  el.attributes.entry = tostring(#headings)
end

local documents = {}
for i, fragment in ipairs(job.fragments) do
  current = i
  documents[i] = read(fragment)
  if not fragment.inline then
    documents[i] = documents[i]:walk { Header = function(el)
      enter(el, fragment)
      return el
    end }
  end
end

local markup = {}
for i, document in ipairs(documents) do
  current = i
  markup[i] = write(document:walk(harmless):walk(linked):walk(blocks))
  if html then  -- no line begins with the comma after a formula
    local formula = '(<math display="inline".-</math>)([,.;:!?%)]*)'
    markup[i] = markup[i]:gsub(formula, function(math, mark)
      return mark == "" and math or '<span class="together">' .. math .. mark .. "</span>"
    end)
  end
end

io.write(pandoc.json.encode {
  fragments = markup, headings = headings, references = references, files = files,
  problems = problems, title = title,
})
